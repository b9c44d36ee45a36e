package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestPutInput(t *testing.T) {
	for _, c := range []struct {
		rule   string
		flags  putFlags
		in     string
		values []string
		want   string
	}{
		{"lines", putFlags{}, "a\n\nb c\r\nlast", nil, "null=a null= null=b c\r null=last"},
		{"nothing", putFlags{}, "", nil, ""},
		{"values", putFlags{}, "unread", []string{"a", ""}, "null=a null="},
		{"a key for all", putFlags{key: "k", keyGiven: true}, "a\nb\n", nil, "k=a k=b"},
		{"an empty key", putFlags{keyGiven: true}, "a", nil, "=a"},
		{"a separator", putFlags{separator: "::"}, "k::v::w\nx\n::y\n", nil, "k=v::w null=x =y"},
		{"a tombstone", putFlags{key: "k", keyGiven: true, null: true}, "unread", nil, "k=null"},
		{"a partition", putFlags{partition: 3, partitionGiven: true}, "a", nil, "null=a@3"},
		{"headers", putFlags{headers: []string{"a=b=c", "d="}}, "x", nil, "null=x[a=b=c][d=]"},
		{"a format", putFlags{format: `%k %v\n`}, "k v\nl w\n", nil, "k=v l=w"},
		{"a format with partitions", putFlags{format: `%p %v\n`}, "2 v\n", nil, "null=v@2"},
		{"JSON", putFlags{format: "json"}, `{"key":"k","value":"v","partition":2}{"value":"w"}`, nil, "k=v@2 null=w"},
		{"JSON without its partitions", putFlags{format: "json", partition: noPartition, partitionGiven: true}, `{"value":"v","partition":2}`, nil, "null=v"},
	} {
		next, err := c.flags.source(strings.NewReader(c.in), c.values)
		if err != nil {
			t.Errorf("%s: %v", c.rule, err)
			continue
		}
		if got, err := collect(next); err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.rule, got, err, c.want)
		}
	}
}

func collect(next func() (*kgo.Record, error)) (string, error) {
	var all []string
	for {
		r, err := next()
		if errors.Is(err, io.EOF) {
			return strings.Join(all, " "), nil
		}
		if err != nil {
			return "", err
		}
		text := orNullText(r.Key) + "=" + orNullText(r.Value)
		if r.Partition != noPartition {
			text += fmt.Sprintf("@%d", r.Partition)
		}
		for _, h := range r.Headers {
			text += fmt.Sprintf("[%s=%s]", h.Key, h.Value)
		}
		all = append(all, text)
	}
}

func TestGivenPartitioner(t *testing.T) {
	p := givenPartitioner{kgo.StickyKeyPartitioner(nil)}.ForTopic("t")
	if got := p.Partition(&kgo.Record{Partition: 5}, 8); got != 5 {
		t.Errorf("partition %d, want the one given", got)
	}
	a := p.Partition(&kgo.Record{Partition: noPartition, Key: []byte("k")}, 8)
	if b := kgo.StickyKeyPartitioner(nil).ForTopic("t").Partition(&kgo.Record{Key: []byte("k")}, 8); a != b || a == 5 {
		t.Errorf("partition %d by key, want %d", a, b)
	}
}
