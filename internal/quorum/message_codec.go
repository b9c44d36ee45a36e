package quorum

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/moldau/moldau/internal/ids"
)

const messageVersion = 1

// What a message carries.
const (
	carriesRaft   byte = 1
	carriesAsk    byte = 2
	carriesAnswer byte = 3
)

// ErrMessage is a message that cannot be read.
var ErrMessage = errors.New("malformed message of the metadata quorum")

// Append appends the message as it travels (docs/format/quorum.md).
func (m *Message) Append(dst []byte) ([]byte, error) {
	dst = append(dst, messageVersion)
	dst = appendText(dst, m.ClusterID)
	dst = m.From.append(dst)
	dst = binary.BigEndian.AppendUint32(dst, uint32(m.To))
	switch {
	case m.Raft != nil:
		b, err := proto.MarshalOptions{}.MarshalAppend(append(dst, carriesRaft), m.Raft)
		if err != nil {
			return nil, fmt.Errorf("encoding a message of raft: %w", err)
		}
		return b, nil
	case m.Ask != nil:
		dst = m.Ask.Report.append(append(dst, carriesAsk))
		return binary.BigEndian.AppendUint64(dst, m.Ask.Next), nil
	default:
		return m.Answer.append(append(dst, carriesAnswer)), nil
	}
}

// DecodeMessage reads a message. It has memory of its own.
func DecodeMessage(b []byte) (m Message, err error) {
	r := messageReader{b: b}
	if version := r.byte(); !r.bad && version != messageVersion {
		return Message{}, fmt.Errorf("%w: its version is %d and this release knows version %d alone", ErrMessage, version, messageVersion)
	}
	m.ClusterID, m.From, m.To = r.text(), r.identity(), r.node()
	switch r.byte() {
	case carriesRaft:
		m.Raft = new(raftpb.Message)
		if err := proto.Unmarshal(r.b, m.Raft); err != nil {
			return Message{}, fmt.Errorf("%w: %w", ErrMessage, err)
		}
		r.b = nil
	case carriesAsk:
		m.Ask = &Ask{Report: r.report(), Next: r.uint64()}
	case carriesAnswer:
		m.Answer = r.answer()
	default:
		r.bad = true
	}
	if r.bad || len(r.b) > 0 {
		return Message{}, ErrMessage
	}
	return m, nil
}

func (i Identity) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(i.Node))
	return append(dst, i.Directory[:]...)
}

func (r *Report) append(dst []byte) []byte {
	dst = appendText(r.Identity.append(dst), r.Endpoint)
	dst = append(dst, flag(r.Formed))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.With)))
	for _, w := range r.With {
		dst = appendText(w.Identity.append(dst), w.Endpoint)
	}
	return dst
}

func (a *Answer) append(dst []byte) []byte {
	dst = append(dst, a.Directory[:]...)
	dst = a.Report.append(dst)
	dst = append(dst, flag(a.Founded))
	dst = binary.BigEndian.AppendUint64(dst, a.RaftID)
	dst = binary.BigEndian.AppendUint64(dst, a.Applied)
	dst = binary.BigEndian.AppendUint32(dst, uint32(a.Leader))
	if dst = append(dst, flag(a.Tail != nil)); a.Tail == nil {
		return dst
	}
	dst = binary.BigEndian.AppendUint64(dst, a.Tail.Commit)
	dst = appendBlob(dst, a.Tail.Batches)
	return appendBlob(dst, a.Tail.Snapshot)
}

func appendBlob(dst, blob []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(blob))), blob...)
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}

// messageReader takes a message apart. After its first failure it returns zeros.
type messageReader struct {
	b   []byte
	bad bool
}

func (r *messageReader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *messageReader) byte() byte {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *messageReader) flag() bool {
	b := r.byte()
	r.bad = r.bad || b > 1
	return b == 1
}

func (r *messageReader) uint64() uint64 {
	if p := r.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (r *messageReader) uint32() uint32 {
	if p := r.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (r *messageReader) count() int {
	if p := r.take(2); p != nil {
		return int(binary.BigEndian.Uint16(p))
	}
	return 0
}

func (r *messageReader) text() string { return string(r.take(r.count())) }

// blob has memory of its own: it is kept longer than the message.
func (r *messageReader) blob() []byte {
	n := r.uint32()
	if uint64(n) > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	if n == 0 {
		return nil
	}
	return slices.Clone(r.take(int(n)))
}

func (r *messageReader) node() ids.NodeID { return ids.NodeID(r.uint32()) }

func (r *messageReader) identity() Identity { return Identity{r.node(), r.directory()} }

func (r *messageReader) directory() (d ids.DirectoryID) {
	copy(d[:], r.take(len(d)))
	return d
}

const withBytesMin = 4 + 16 + 2 // of one that an answer was formed with

func (r *messageReader) report() Report {
	report := Report{Identity: r.identity(), Endpoint: r.text(), Formed: r.flag()}
	count := r.count()
	if count > len(r.b)/withBytesMin {
		r.bad = true
		return report
	}
	for range count {
		report.With = append(report.With, Peer{Identity: r.identity(), Endpoint: r.text()})
	}
	return report
}

func (r *messageReader) answer() *Answer {
	a := &Answer{Directory: r.directory(), Report: r.report(), Founded: r.flag(), RaftID: r.uint64(), Applied: r.uint64(), Leader: r.node()}
	if r.flag() {
		a.Tail = &Tail{Commit: r.uint64(), Batches: r.blob(), Snapshot: r.blob()}
	}
	return a
}
