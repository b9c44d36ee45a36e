package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"
)

// TestJSONRecordsComeBack: what cat -o json prints and put -f json reads is the same record.
func TestJSONRecordsComeBack(t *testing.T) {
	someBytes := rapid.OneOf(rapid.Just([]byte(nil)), rapid.Just([]byte{}), rapid.SliceOfN(rapid.Byte(), 1, 20),
		rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) }))
	rapid.Check(t, func(t *rapid.T) {
		want := &kgo.Record{
			Key: someBytes.Draw(t, "key"), Value: someBytes.Draw(t, "value"), Partition: rapid.Int32Range(0, 9).Draw(t, "partition"),
			Timestamp: time.UnixMilli(rapid.Int64Range(-1, 1<<45).Draw(t, "timestamp")),
		}
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			want.Headers = append(want.Headers, kgo.RecordHeader{Key: rapid.String().Draw(t, "name"), Value: someBytes.Draw(t, "header")})
		}
		var line bytes.Buffer
		if err := json.NewEncoder(&line).Encode(newJSONRecord(want)); err != nil {
			t.Fatal(err)
		}
		next := readJSON(&line)
		got, err := next()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v, %v; want %+v", got, err, want)
		}
		if _, err := next(); !errors.Is(err, io.EOF) {
			t.Fatalf("after the last record: %v", err)
		}
	})
}

func TestReadJSON(t *testing.T) {
	for _, c := range []struct{ rule, text, key, value, problem string }{
		{"nothing", `{}`, "null", "null", ""},
		{"null", `{"key":null,"value":null}`, "null", "null", ""},
		{"empty", `{"key":"","value_base64":""}`, "", "", ""},
		{"base64", `{"value_base64":"//4="}`, "null", "\xff\xfe", ""},
		{"where it was read does not count", `{"topic":"t","offset":7,"value":"v"}`, "null", "v", ""},
		{"both", `{"key":"a","key_base64":"YQ=="}`, "", "", "record 1 of the input: key and key_base64 are both given; give one"},
		{"bad base64", `{"value_base64":"?"}`, "", "", "record 1 of the input: value_base64 is no base64"},
		{"a field that is none", `{"val":"a"}`, "", "", `record 1 of the input: json: unknown field "val"`},
		{"no JSON", `hello`, "", "", "record 1 of the input: invalid character"},
		{"a bad header", `{"headers":[{"name":"h","value":"a","value_base64":"YQ=="}]}`, "", "", `record 1 of the input: header "h": value and value_base64`},
	} {
		r, err := readJSON(strings.NewReader(c.text))()
		if c.problem != "" {
			if err == nil || !strings.HasPrefix(err.Error(), c.problem) {
				t.Errorf("%s: %v, want %s", c.rule, err, c.problem)
			}
			continue
		}
		if err != nil || orNullText(r.Key) != c.key || orNullText(r.Value) != c.value || r.Partition != noPartition {
			t.Errorf("%s: %+v, %v", c.rule, r, err)
		}
	}
}

func orNullText(b []byte) string {
	if b == nil {
		return "null"
	}
	return string(b)
}
