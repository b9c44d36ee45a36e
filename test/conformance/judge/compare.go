package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// compare tells the first difference between what was written and what was read, partition by partition in order.
func compare(want, got []record, noTimes, kcat bool) error {
	w, g := byPartition(want), byPartition(got)
	for p := range g {
		if _, ok := w[p]; !ok {
			return fmt.Errorf("partition %d: %d records that nobody wrote", p, len(g[p]))
		}
	}
	for p, list := range w {
		for i := range list {
			if i >= len(g[p]) {
				return fmt.Errorf("partition %d: %d records written, %d read", p, len(list), len(g[p]))
			}
			a, b := canonical(list[i], noTimes, kcat), canonical(g[p][i], noTimes, kcat)
			if a != b {
				return fmt.Errorf("partition %d, record %d:\nwritten %s\nread    %s", p, i, brief(a), brief(b))
			}
		}
		if len(g[p]) > len(list) {
			return fmt.Errorf("partition %d: %d records written, %d read", p, len(list), len(g[p]))
		}
	}
	fmt.Printf("%d records equal, sha256 %.16x\n", len(got), digest(got, noTimes, kcat))
	return nil
}

// compareAtLeastOnce tells of a record that was written and not read, or read and not written.
func compareAtLeastOnce(want, got []record, noTimes, kcat bool) error {
	unread := map[string]int{} // how often each was written; some are equal
	for _, r := range want {
		unread[canonical(r, noTimes, kcat)]++
	}
	again := 0
	for _, r := range got {
		text := canonical(r, noTimes, kcat)
		n, ok := unread[text]
		switch {
		case !ok:
			return fmt.Errorf("partition %d: read %s, which nobody wrote", r.partition, brief(text))
		case n == 0:
			again++
		default:
			unread[text]--
		}
	}
	for text, n := range unread {
		if n > 0 {
			return fmt.Errorf("written %d times more often than read: %s", n, brief(text))
		}
	}
	fmt.Printf("%d records, %d of them again\n", len(got), again)
	return nil
}

// forgetEmpty makes null of every key, value and header that is empty.
func forgetEmpty(records []record) {
	forget := func(b *[]byte) {
		if len(*b) == 0 {
			*b = nil
		}
	}
	for i := range records {
		r := &records[i]
		forget(&r.key)
		forget(&r.value)
		for j := range r.headers {
			forget(&r.headers[j].value)
		}
	}
}

func byPartition(records []record) map[int32][]record {
	m := map[int32][]record{}
	for _, r := range records {
		m[r.partition] = append(m[r.partition], r)
	}
	return m
}

func digest(records []record, noTimes, kcat bool) []byte {
	h := sha256.New()
	for _, r := range records {
		io.WriteString(h, canonical(r, noTimes, kcat))
	}
	return h.Sum(nil)
}

// canonical writes a record so that two are equal where their texts are; kcat shows headers as text.
func canonical(r record, noTimes, kcat bool) string {
	if noTimes {
		r.timestamp = 0
	}
	if !kcat {
		return string(appendRecord(nil, &r))
	}
	hs := headerText(r.headers)
	r.headers = nil
	return string(appendRecord(nil, &r)) + hs
}

func headerText(hs []header) string {
	var parts []string
	for _, h := range hs {
		v := string(h.value)
		if h.value == nil {
			v = "NULL"
		}
		parts = append(parts, h.key+"="+v)
	}
	return strings.Join(parts, ",")
}

func brief(s string) string {
	if len(s) > 300 {
		s = s[:300]
	}
	return strconv.Quote(s)
}

// kcatFormat makes kcat print what readKcat reads: numbers first, so that keys and values may hold anything.
const kcatFormat = `%p %T %K %S\n%k%s%h\n`

func readKcat(in *bufio.Reader) ([]record, error) {
	var out []record
	for {
		var r record
		var key, value int
		head, err := in.ReadString('\n')
		if err == io.EOF && head == "" {
			return out, nil
		}
		if _, err := fmt.Sscanf(head, "%d %d %d %d\n", &r.partition, &r.timestamp, &key, &value); err != nil {
			return nil, fmt.Errorf("record %d begins with %q: %w", len(out), head, err)
		}
		if r.key, err = take(in, key); err != nil {
			return nil, err
		}
		if r.value, err = take(in, value); err != nil {
			return nil, err
		}
		text, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if text = strings.TrimSuffix(text, "\n"); text != "" {
			for _, pair := range strings.Split(text, ",") {
				k, v, _ := strings.Cut(pair, "=")
				h := header{k, []byte(v)}
				if v == "NULL" {
					h.value = nil
				}
				r.headers = append(r.headers, h)
			}
		}
		out = append(out, r)
	}
}

func take(in *bufio.Reader, n int) ([]byte, error) {
	if n < 0 {
		return nil, nil
	}
	b := make([]byte, n)
	_, err := io.ReadFull(in, b)
	return b, err
}
