package peer

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/moldau/moldau/internal/ids"
)

// Channel is what a connection between nodes is for.
type Channel uint8

const (
	// ChannelQuorum carries the messages of the metadata quorum.
	ChannelQuorum Channel = 1
	// ChannelBroker carries Kafka requests and their answers.
	ChannelBroker Channel = 2
)

const (
	// Magic begins the body of every frame of a handshake. As a Kafka request it would be one of API 19791.
	Magic = "MOLDAUPR"

	// FrameBytesMax bounds the body of a frame.
	FrameBytesMax = 1 << 10

	// The versions of the handshake and of what follows it that this release speaks.
	versionMin uint16 = 1
	versionMax uint16 = 1

	nonceBytes = 32
	macBytes   = 32
	textMax    = 255
)

// The byte after Magic says which frame it is.
const (
	frameHello     byte = 1
	frameChallenge byte = 2
	frameProof     byte = 3
	frameVerdict   byte = 4
)

// Identity is who a node is, as far as a connection is concerned.
type Identity struct {
	Cluster   string // "" while the node knows of none
	Node      ids.NodeID
	Directory ids.DirectoryID // of the metadata log
	Epoch     int64           // of the broker's registration, -1 before it has one
}

func (i Identity) String() string {
	cluster := i.Cluster
	if cluster == "" {
		cluster = "no cluster yet"
	}
	return fmt.Sprintf("node %d (directory %s, epoch %d, %s)", i.Node, i.Directory, i.Epoch, cluster)
}

type hello struct {
	versionMin, versionMax uint16
	channel                Channel
	secret                 bool // the sender has one
	identity               Identity
	nonce                  [nonceBytes]byte
}

type challenge struct {
	version  uint16
	secret   bool
	identity Identity
	nonce    [nonceBytes]byte
	mac      [macBytes]byte
}

func (h *hello) encode() []byte {
	b := append([]byte(Magic), frameHello)
	b = binary.BigEndian.AppendUint16(b, h.versionMin)
	b = binary.BigEndian.AppendUint16(b, h.versionMax)
	b = append(b, byte(h.channel), flag(h.secret))
	b = h.identity.append(b)
	return append(b, h.nonce[:]...)
}

func decodeHello(body []byte) (h hello, err error) {
	r := reader{b: body}
	r.begin(frameHello)
	h.versionMin, h.versionMax = r.uint16(), r.uint16()
	h.channel, h.secret = Channel(r.byte()), r.flag()
	h.identity = r.identity()
	copy(h.nonce[:], r.bytes(nonceBytes))
	return h, r.end("hello")
}

// encodeOpen is the part of a challenge that its MAC covers.
func (c *challenge) encodeOpen() []byte {
	b := append([]byte(Magic), frameChallenge)
	b = binary.BigEndian.AppendUint16(b, c.version)
	b = append(b, flag(c.secret))
	b = c.identity.append(b)
	return append(b, c.nonce[:]...)
}

func decodeChallenge(body []byte) (c challenge, err error) {
	r := reader{b: body}
	r.begin(frameChallenge)
	c.version, c.secret = r.uint16(), r.flag()
	c.identity = r.identity()
	copy(c.nonce[:], r.bytes(nonceBytes))
	copy(c.mac[:], r.bytes(macBytes))
	return c, r.end("challenge")
}

func encodeProof(mac [macBytes]byte) []byte {
	return append(append([]byte(Magic), frameProof), mac[:]...)
}

func decodeProof(body []byte) (mac [macBytes]byte, err error) {
	r := reader{b: body}
	r.begin(frameProof)
	copy(mac[:], r.bytes(macBytes))
	return mac, r.end("proof")
}

// encodeVerdict is empty-handed where the handshake is accepted.
func encodeVerdict(refusal string) []byte {
	return appendText(append([]byte(Magic), frameVerdict), refusal)
}

// decodeVerdict tells of a refusal also where another frame was due: a refusal ends the handshake anywhere.
func decodeVerdict(body []byte) (refusal string, err error) {
	r := reader{b: body}
	r.begin(frameVerdict)
	refusal = r.text()
	return refusal, r.end("verdict")
}

func isVerdict(body []byte) bool {
	return len(body) > len(Magic) && string(body[:len(Magic)]) == Magic && body[len(Magic)] == frameVerdict
}

// IsHello tells whether a frame is a node's hello and not a client's request.
func IsHello(body []byte) bool {
	return len(body) > len(Magic) && string(body[:len(Magic)]) == Magic && body[len(Magic)] == frameHello
}

// HelloChannel returns what the connection that begins with a hello is to be for, as the dialer says; false where the frame
// is no hello that can be read.
func HelloChannel(body []byte) (Channel, bool) {
	h, err := decodeHello(body)
	return h.channel, err == nil
}

func (i *Identity) append(b []byte) []byte {
	b = appendText(b, i.Cluster)
	b = binary.BigEndian.AppendUint32(b, uint32(i.Node))
	b = append(b, i.Directory[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(i.Epoch))
}

func appendText(b []byte, s string) []byte {
	s = s[:min(len(s), textMax)]
	return append(append(b, byte(len(s))), s...)
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}

// ErrFrame is a frame between nodes that cannot be read.
var ErrFrame = errors.New("malformed frame")

// reader takes a frame apart. After its first failure it returns zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) begin(kind byte) {
	if string(r.bytes(len(Magic))) != Magic || r.byte() != kind {
		r.bad = true
	}
}

func (r *reader) bytes(n int) []byte {
	if r.bad || len(r.b) < n {
		r.bad = true
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) byte() byte {
	if p := r.bytes(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *reader) flag() bool {
	b := r.byte()
	r.bad = r.bad || b > 1
	return b == 1
}

func (r *reader) uint16() uint16 {
	if p := r.bytes(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

func (r *reader) text() string { return string(r.bytes(int(r.byte()))) }

func (r *reader) identity() (i Identity) {
	i.Cluster = r.text()
	if p := r.bytes(4); p != nil {
		i.Node = ids.NodeID(binary.BigEndian.Uint32(p))
	}
	copy(i.Directory[:], r.bytes(len(i.Directory)))
	if p := r.bytes(8); p != nil {
		i.Epoch = int64(binary.BigEndian.Uint64(p))
	}
	r.bad = r.bad || i.Node < 0
	return i
}

// end checks that nothing is left.
func (r *reader) end(what string) error {
	if r.bad || len(r.b) > 0 {
		return fmt.Errorf("%w: it is no %s", ErrFrame, what)
	}
	return nil
}
