package oracle

import (
	"fmt"
	"regexp"
	"sort"
	"strings"
	"testing"
)

// An expected difference is a place where Moldau does not answer what Kafka answers, and why.
type expected struct {
	api    int16
	title  string // of the entries, a regular expression
	at     string // path and field, a regular expression; a whole struct has the field ""
	reason string // an ADR of docs/adr, or the API or feature that is not built yet
}

// differences is the whole list. A difference that is not here fails the suite, and so does a row that explains nothing.
var differences = []expected{
	{0, `refused: (codec|rubbish that|nothing that|gzip with offsets)`, `ErrorCode$`, "ADR 0009: not -1 for what a client got wrong"},
	{0, `offsets of records that do not follow`, `(ErrorCode|BaseOffset)$`, "ADR 0009: offset deltas count up from 0"},
	{0, `again`, `LogAppendTime$`, "ADR 0009: a duplicate in a CreateTime topic has no append time"},
	{0, ``, `ErrorMessage$`, "ADR 0009: an error always carries a message"},
	{32, `unknown topic`, `ErrorMessage$`, "ADR 0009: an error always carries a message"},
	{37, `unknown topic`, `ErrorMessage$`, "ADR 0009: an error always carries a message"},
	{44, `unknown operation`, `ErrorMessage$`, "ADR 0009: an error always carries a message"},
	{61, ``, `ErrorMessage$`, "ADR 0009: an error always carries a message"},
	{45, `nothing to cancel`, `ErrorMessage$`, "ADR 0009: an error always carries a message"},
	{55, `^v2 valid`, `ReplicaDirectoryID$`, "ADR 0002: a voter is a node with its directory"},
	{3, `neither an id nor a name`, `ErrorCode$`, "ADR 0009: not -1 for what a client got wrong"},
	{1, `a piece`, `RecordBatches$`, "ADR 0010: an answer holds whole batches"},
	{18, `^v[34] valid`, `^(Supported|Finalized)Features`, "features: moldau.version, and those that are built"},
	{19, ``, `Configs\{ack\.durability\}\.$`, "ADR 0003: ack.durability is Moldau's own"},
	{32, ``, `Configs\{ack\.durability\}\.|ConfigSynonyms\{log\.ack\.durability\}\.|Configs\{log\.ack\.durability\}\.`, "ADR 0003: ack.durability is Moldau's own"},
	{32, ``, `Configs\{cluster\.secret\.file\}\.`, "ADR 0015: cluster.secret.file is Moldau's own"},
	{32, ``, `Configs\{broker\.(heartbeat\.interval|session\.timeout)\.ms\}\.`, "ADR 0019: shorter by default"},
	{19, ``, `Configs\{min\.insync\.replicas\}\.Source$`, "ADR 0004: Kafka sets min.insync.replicas for all brokers itself, for eligible leader replicas, which are not built yet"},
	{32, ``, `Configs\{min\.insync\.replicas\}\.`, "ADR 0004: Kafka sets min.insync.replicas for all brokers itself, for eligible leader replicas, which are not built yet"},
}

const differencesMax = 20

// judge reports the differences that no row explains and the rows that explain none.
func judge(t *testing.T, found []difference) {
	t.Helper()
	table := differences
	if reference {
		table = nil
	}
	if len(table) > differencesMax {
		t.Errorf("%d expected differences, at most %d", len(table), differencesMax)
	}
	used := make([]int, len(table))
	unexplained := map[string][]string{}
	for _, d := range found {
		at := -1
		for i, e := range table {
			if e.explains(d) {
				at = i
				break
			}
		}
		if at >= 0 {
			used[at]++
			continue
		}
		about := fmt.Sprintf("%02d %s.%s", d.key, generic(d.path), d.field)
		unexplained[about] = append(unexplained[about], d.String())
	}
	for i, n := range used {
		if n == 0 {
			t.Errorf("expected difference %d (%s, %s) is gone: remove it", i+1, table[i].title, table[i].at)
		}
	}
	var abouts []string
	for about := range unexplained {
		abouts = append(abouts, about)
	}
	sort.Strings(abouts)
	for _, about := range abouts {
		const shown = 8
		list := unexplained[about]
		more := ""
		if len(list) > shown {
			more = fmt.Sprintf("\n  and %d more", len(list)-shown)
			list = list[:shown]
		}
		t.Errorf("%s\n  %s%s", about, strings.Join(list, "\n  "), more)
	}
}

func (e expected) explains(d difference) bool {
	return e.api == d.key && regexp.MustCompile(e.title).MatchString(d.title) && regexp.MustCompile(e.at).MatchString(d.path+"."+d.field)
}

var keys = regexp.MustCompile(`\{[^}]*\}`)

// generic names a path without the keys of its elements.
func generic(path string) string { return keys.ReplaceAllString(path, "{}") }
