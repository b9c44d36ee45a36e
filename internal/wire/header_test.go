package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestFrameLength(t *testing.T) {
	const limit = 100 << 20
	length := func(n int32) string { return string(AppendInt32(nil, n)) }
	for _, c := range []struct {
		name, prefix string
		want         int
		err          error
	}{
		{"smallest request", length(10), 10, nil},
		{"at the limit", length(limit), limit, nil},
		{"above the limit", length(limit + 1), 0, ErrFrameSize},
		{"largest length", length(1<<31 - 1), 0, ErrFrameSize},
		{"zero", length(0), 0, ErrFrameLength},
		{"shorter than a header", length(9), 0, ErrFrameLength},
		{"negative", length(-1), 0, ErrFrameLength},
		{"most negative", length(-1 << 31), 0, ErrFrameLength},
		{"TLS 1.0 record", "\x16\x03\x01\x02", 0, ErrTLS},
		{"TLS 1.2 record", "\x16\x03\x03\x00", 0, ErrTLS},
		{"HTTP GET", "GET ", 0, ErrHTTP},
		{"HTTP POST", "POST", 0, ErrHTTP},
		{"HTTP/2 preface", "PRI ", 0, ErrHTTP},
		{"text", "hell", 0, ErrFrameSize},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := FrameLength([]byte(c.prefix), limit)
			if n != c.want || !errors.Is(err, c.err) {
				t.Fatalf("FrameLength(%x) = %d, %v; want %d, %v", c.prefix, n, err, c.want, c.err)
			}
		})
	}
}

func TestFlexibleIsWhatKmsgSays(t *testing.T) {
	for key := int16(0); key <= kmsg.MaxKey; key++ {
		req := kmsg.RequestForKey(key)
		if req == nil {
			continue
		}
		for v := int16(0); v <= req.MaxVersion(); v++ {
			req.SetVersion(v)
			if got := IsFlexible(key, v); got != req.IsFlexible() {
				t.Errorf("IsFlexible(%s, %d) = %v", kmsg.NameForKey(key), v, got)
			}
		}
		if IsFlexible(key, -1) {
			t.Errorf("version -1 of %s is flexible", kmsg.NameForKey(key))
		}
	}
	if IsFlexible(-1, 5) || IsFlexible(kmsg.MaxKey+1, 5) || IsFlexible(1<<15-1, 1<<15-1) {
		t.Error("an unknown API is flexible")
	}
	if !IsFlexible(KeyApiVersions, 99) {
		t.Error("ApiVersions of the future is not flexible: its header could not be read")
	}
}

func TestRequestHeaderIsWhatKmsgWrites(t *testing.T) {
	name, empty := "a client", ""
	for _, clientID := range []*string{nil, &empty, &name} {
		var format *kmsg.RequestFormatter
		if clientID == nil {
			format = kmsg.NewRequestFormatter()
		} else {
			format = kmsg.NewRequestFormatter(kmsg.FormatterClientID(*clientID))
		}
		for key := int16(0); key <= kmsg.MaxKey; key++ {
			req := kmsg.RequestForKey(key)
			if req == nil || key == 7 { // ControlledShutdown, gone since Kafka 4.0, had a header of its own
				continue
			}
			for v := int16(0); v <= req.MaxVersion(); v++ {
				req.SetVersion(v)
				body := req.AppendTo(nil)
				frame := format.AppendRequest(nil, req, 77)
				if n := int(binary.BigEndian.Uint32(frame)); n != len(frame)-LengthBytes {
					t.Fatal("kmsg's frame length")
				}
				h, err := ReadRequestHeader(frame[LengthBytes:])
				if err != nil || h.Key != key || h.Version != v || h.CorrelationID != 77 || !bytes.Equal(h.Body, body) {
					t.Fatalf("%s v%d: %+v, %v", kmsg.NameForKey(key), v, h, err)
				}
				if (h.ClientID == nil) != (clientID == nil) || clientID != nil && string(h.ClientID) != *clientID {
					t.Fatalf("client id %q", h.ClientID)
				}
				ours := append(AppendRequestHeader(nil, key, v, 77, clientID), body...)
				if !bytes.Equal(ours, frame[LengthBytes:]) {
					t.Fatalf("%s v%d: wrote %x, kmsg %x", kmsg.NameForKey(key), v, ours, frame)
				}
			}
		}
	}
}

func TestResponseHeader(t *testing.T) {
	for _, c := range []struct {
		name         string
		key, version int16
		want         string
	}{
		{"not flexible", 0, 8, "\x00\x00\x00\x05"},
		{"flexible has tags", 0, 9, "\x00\x00\x00\x05\x00"},
		{"ApiVersions v0", 18, 0, "\x00\x00\x00\x05"},
		{"ApiVersions v3, header 0 all the same", 18, 3, "\x00\x00\x00\x05"},
		{"SaslHandshake is never flexible", 17, 1, "\x00\x00\x00\x05"},
	} {
		if got := AppendResponseHeader(nil, c.key, c.version, 5); string(got) != c.want {
			t.Errorf("%s: %x, want %x", c.name, got, c.want)
		}
		id, body, err := ReadResponseHeader([]byte(c.want+"body"), c.key, c.version)
		if err != nil || id != 5 || string(body) != "body" {
			t.Errorf("%s: read %d, %q, %v", c.name, id, body, err)
		}
		for n := range len(c.want) {
			if _, _, err := ReadResponseHeader([]byte(c.want[:n]), c.key, c.version); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: %d bytes: %v", c.name, n, err)
			}
		}
	}
}

func TestRequestHeaderRefuses(t *testing.T) {
	fixed := func(key, version int16) string {
		return string(AppendInt32(AppendInt16(AppendInt16(nil, key), version), 1))
	}
	for name, frame := range map[string]string{
		"empty":                      "",
		"no client id":               fixed(3, 1),
		"half a length":              fixed(3, 1) + "\x00",
		"client id beyond the end":   fixed(3, 1) + "\x00\x05abcd",
		"client id length -2":        fixed(3, 1) + "\xff\xfe",
		"flexible without tags":      fixed(3, 9) + "\xff\xff",
		"tags beyond the end":        fixed(3, 9) + "\xff\xff\x01\x00\x05ab",
		"2^32-1 tags":                fixed(3, 9) + "\xff\xff\xff\xff\xff\xff\x0f",
		"count of tags over 32 bits": fixed(3, 9) + "\xff\xff" + strings.Repeat("\xff", 9) + "\x01",
	} {
		if h, err := ReadRequestHeader([]byte(frame)); !errors.Is(err, ErrHeader) {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
}

func TestUvarintIsWhatKmsgReads(t *testing.T) {
	for range 10000 {
		v := rand.Uint32() >> rand.IntN(32)
		p := AppendUvarint(nil, v)
		r := NewReader(p)
		if got := r.Uvarint(); got != v || r.Len() != 0 || r.Failed() {
			t.Fatalf("%d reads as %d", v, got)
		}
		if len(p) != uvarintBytes(v) {
			t.Fatalf("%d takes %d bytes, not %d", v, len(p), uvarintBytes(v))
		}
	}
}

// FuzzRequestHeader: no panic; what is read is inside the frame; a header that was
// read is written back to the same bytes but for tags, which are skipped.
func FuzzRequestHeader(f *testing.F) {
	f.Add([]byte("\x00\x12\x00\x04\x00\x00\x00\x01\x00\x02ab\x00rest"))
	f.Add([]byte("\x00\x03\x00\x09\x00\x00\x00\x01\xff\xff\x01\x00\x05abcde"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		h, err := ReadRequestHeader(frame)
		if err != nil {
			return
		}
		if len(h.Body) > len(frame)-MinRequestBytes || !bytes.HasSuffix(frame, h.Body) {
			t.Fatalf("body %x is not the end of %x", h.Body, frame)
		}
		var id *string
		if h.ClientID != nil {
			s := string(h.ClientID)
			id = &s
		}
		back := AppendRequestHeader(nil, h.Key, h.Version, h.CorrelationID, id)
		if IsFlexible(h.Key, h.Version) {
			back = back[:len(back)-1]
		}
		if !bytes.HasPrefix(frame, back) {
			t.Fatalf("%x reads as %+v, which writes %x", frame, h, back)
		}
	})
}

// FuzzFrameLength: a length is returned only within the bounds, and nothing else is.
func FuzzFrameLength(f *testing.F) {
	f.Add([]byte("GET "), 1000)
	f.Add([]byte{0, 0, 0, 20}, 1000)
	f.Fuzz(func(t *testing.T, prefix []byte, limit int) {
		if len(prefix) < LengthBytes {
			return
		}
		n, err := FrameLength(prefix, limit)
		claimed := int(int32(binary.BigEndian.Uint32(prefix)))
		switch {
		case err == nil && (n != claimed || n < MinRequestBytes || n > limit):
			t.Fatalf("%x, limit %d: %d", prefix, limit, n)
		case err != nil && claimed >= MinRequestBytes && claimed <= limit:
			t.Fatalf("%x, limit %d: %v", prefix, limit, err)
		}
	})
}
