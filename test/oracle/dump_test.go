package oracle

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A line is one struct of an answer: its path and those of its fields that are not zero, in the order of the message.
type line struct {
	path   string
	fields []field
}

type field struct{ name, value string }

func (l line) String() string {
	var b strings.Builder
	b.WriteString(l.path)
	for _, f := range l.fields {
		b.WriteString("\t" + f.name + "=" + f.value)
	}
	return b.String()
}

// A dumper turns answers into lines, masking what may differ between two brokers that behave alike.
type dumper struct {
	prefix string              // of the names of this run's topics, written as ~
	node   int32               // the broker's own id, written as <node>
	names  map[[16]byte]string // of the topics whose ids are known
	lines  []line
}

// skipped fields are never compared.
var skipped = map[string]bool{"Version": true, "UnknownTags": true, "ThrottleMillis": true}

// site names the broker configs whose values belong to one installation.
var site = map[string]bool{
	"node.id": true, "broker.id": true, "listeners": true, "advertised.listeners": true, "log.dirs": true, "log.dir": true,
	"controller.quorum.voters": true, "controller.quorum.bootstrap.servers": true, "metadata.log.dir": true,
	"process.roles": true, "controller.listener.names": true, "listener.security.protocol.map": true,
}

func (d *dumper) dump(resp kmsg.Response) []line {
	d.lines = nil
	d.structure("", reflect.ValueOf(resp).Elem())
	return d.lines
}

func (d *dumper) structure(path string, v reflect.Value) {
	at := len(d.lines)
	l := line{path: path}
	d.lines = append(d.lines, l)
	for i := range v.NumField() {
		name, f := v.Type().Field(i).Name, v.Field(i)
		if skipped[name] {
			continue
		}
		switch {
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct:
			if f.Len() == 0 && !f.IsNil() {
				l.fields = append(l.fields, field{name, "[]"})
			}
			d.elements(join(path, name), f)
		case f.Kind() == reflect.Struct:
			if !absent(f) {
				d.structure(join(path, name), f)
			}
		case f.Kind() == reflect.Pointer && f.Type().Elem().Kind() == reflect.Struct:
			if !f.IsNil() {
				d.structure(join(path, name), f.Elem())
			}
		default:
			if value := d.scalar(name, f, v); value != "" {
				l.fields = append(l.fields, field{name, value})
			}
		}
	}
	if path == "" {
		l.path = "answer"
	}
	d.lines[at] = l
}

// absent tells whether a tagged struct holds only the values that it has when it is not sent.
func absent(v reflect.Value) bool {
	for i := range v.NumField() {
		if f := v.Field(i); f.CanInt() && f.Int() != -1 {
			return false
		}
	}
	return true
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// elements dumps the structs of an array under their keys, sorted, as their order says nothing.
func (d *dumper) elements(path string, v reflect.Value) {
	type element struct {
		key string
		v   reflect.Value
	}
	var all []element
	for i := range v.Len() {
		all = append(all, element{d.key(v.Index(i), i), v.Index(i)})
	}
	sort.SliceStable(all, func(i, j int) bool { return less(all[i].key, all[j].key) })
	seen := map[string]int{}
	for _, e := range all {
		seen[e.key]++
		if n := seen[e.key]; n > 1 {
			e.key += "#" + strconv.Itoa(n)
		}
		d.structure(path+"{"+e.key+"}", e.v)
	}
}

func less(a, b string) bool {
	n, errA := strconv.Atoi(a)
	m, errB := strconv.Atoi(b)
	if errA == nil && errB == nil {
		return n < m
	}
	return a < b
}

// key returns what tells an element from its neighbours.
func (d *dumper) key(v reflect.Value, i int) string {
	if m, ok := v.Interface().(kmsg.ConsumerGroupDescribeResponseGroupMember); ok { // of classic groups the order says something
		return d.text("MemberID", m.MemberID, v)
	}
	for _, name := range []string{"Topic", "TopicID", "Group", "Key", "Partition", "ApiKey", "Name", "Feature", "ResourceName", "NodeID"} {
		f := v.FieldByName(name)
		if !f.IsValid() || name == "Topic" && f.IsZero() {
			continue
		}
		s := d.scalar(name, f, v)
		if s == "" {
			s = "0"
		}
		return strings.Trim(s, `"`)
	}
	return strconv.Itoa(i)
}

// scalar writes a value with what may differ masked; "" for a zero value or null.
func (d *dumper) scalar(name string, f, parent reflect.Value) string {
	if f.Kind() == reflect.Pointer {
		if f.IsNil() {
			return ""
		}
		f = f.Elem()
		if f.Kind() == reflect.String && f.Len() == 0 {
			return `""`
		}
	}
	switch v := f.Interface().(type) {
	case [16]byte:
		return d.topicID(v)
	case []byte:
		return batches(v)
	case string:
		return d.text(name, v, parent)
	}
	switch f.Kind() {
	case reflect.Bool:
		if !f.Bool() {
			return ""
		}
		return "true"
	case reflect.Slice:
		return d.list(name, f, parent)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return d.number(name, f.Int(), parent)
	case reflect.Uint16:
		return d.number(name, int64(f.Uint()), parent)
	}
	return fmt.Sprint(f.Interface())
}

func (d *dumper) list(name string, f, parent reflect.Value) string {
	if f.IsNil() {
		return ""
	}
	var parts []string
	for i := range f.Len() {
		s := d.scalar(name, f.Index(i), parent)
		if s == "" {
			s = "0"
		}
		parts = append(parts, s)
	}
	if name == "SubscribedTopics" { // a hash set of Kafka's, in whatever order
		sort.Strings(parts)
	}
	return "[" + strings.Join(parts, " ") + "]"
}

func (d *dumper) topicID(id [16]byte) string {
	if id == ([16]byte{}) {
		return ""
	}
	if id == unknownTopicID {
		return "<unknown>"
	}
	if name, ok := d.names[id]; ok {
		return "<id of " + strings.ReplaceAll(name, d.prefix, "~") + ">"
	}
	return "<id>"
}

func (d *dumper) text(name, v string, parent reflect.Value) string {
	if v == "" {
		return ""
	}
	switch name {
	case "ErrorMessage", "Documentation":
		return "<text>"
	case "ClusterID":
		return "<id>"
	case "Dir":
		return "<dir>"
	case "Host":
		return "<host>"
	case "MemberID", "LeaderID":
		v = memberIDs.ReplaceAllString(v, "<id>")
	case "Feature":
		if versionFeatures[v] {
			return "<version>"
		}
	case "ResourceName", "Name":
		if v == strconv.Itoa(int(d.node)) {
			return "<node>"
		}
	case "Value":
		if n := parent.FieldByName("Name"); n.IsValid() && site[n.String()] {
			return "<site>"
		}
	}
	return strconv.Quote(strings.ReplaceAll(v, d.prefix, "~"))
}

var nodeFields = map[string]bool{"NodeID": true, "Leader": true, "LeaderID": true, "ControllerID": true, "ReplicaID": true, "Replicas": true, "ISR": true, "OfflineReplicas": true}

// quorumMasks hide where the metadata log of a broker is, and when, in DescribeQuorum.
var quorumMasks = map[string]string{
	"LeaderEpoch": "<epoch>", "HighWatermark": "<offset>", "LogEndOffset": "<offset>",
	"LastFetchTimestamp": "<time>", "LastCaughtUpTimestamp": "<time>",
}

func (d *dumper) number(name string, n int64, parent reflect.Value) string {
	switch {
	case n > 0 && quorumMasks[name] != "" && strings.HasPrefix(parent.Type().Name(), "DescribeQuorum"):
		return quorumMasks[name]
	case nodeFields[name] && n == int64(d.node):
		return "<node>"
	case name == "ProducerID" && n >= 0:
		return "<id>"
	case n == 0:
		return ""
	case (name == "TotalBytes" || name == "UsableBytes") && n > 0:
		return "<bytes>"
	case name == "LogAppendTime" && n > time.Now().Add(-24*time.Hour).UnixMilli(): // of the broker's clock
		return "<time>"
	case name == "Port":
		return "<port>"
	case name == "SessionID":
		return "<id>"
	case name == "FinalizedFeaturesEpoch" && n > 0:
		return "<epoch>"
	}
	return strconv.FormatInt(n, 10)
}

// batches sums up the batches of a fetch answer: offsets, header fields and a checksum of what the producer wrote.
func batches(b []byte) string {
	if b == nil {
		return ""
	}
	var parts []string
	for len(b) >= 61 {
		n := 12 + int(binary.BigEndian.Uint32(b[8:]))
		if n > len(b) {
			break
		}
		parts = append(parts, fmt.Sprintf("base:%d,epoch:%d,attr:%d,last:%d,count:%d,bytes:%d,crc:%08x",
			binary.BigEndian.Uint64(b), int32(binary.BigEndian.Uint32(b[12:])), binary.BigEndian.Uint16(b[21:]),
			binary.BigEndian.Uint32(b[23:]), binary.BigEndian.Uint32(b[57:]), n,
			crc32.Checksum(b[21:n], crc32.MakeTable(crc32.Castagnoli))))
		b = b[n:]
	}
	if len(b) > 0 {
		parts = append(parts, fmt.Sprintf("and %d bytes", len(b)))
	}
	return "[" + strings.Join(parts, " ") + "]"
}

// keepOnly drops the lines under paths that are not wanted.
func keepOnly(lines []line, want func(path string) bool) []line {
	return slices.DeleteFunc(lines, func(l line) bool { return !want(l.path) })
}
