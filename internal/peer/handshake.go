package peer

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/moldau/moldau/internal/ids"
)

var (
	// ErrSecret says that the two nodes do not have the same cluster secret.
	ErrSecret = errors.New("the cluster secrets differ")
	// ErrCluster says that the two nodes belong to different clusters.
	ErrCluster = errors.New("another cluster")
	// ErrVersion says that the two releases have no version of the handshake in common.
	ErrVersion = errors.New("no common version")
	// ErrWrongNode says that another node answers than was dialled, or one that calls itself by this node's id.
	ErrWrongNode = errors.New("another node")
	// ErrRefused says that the other node has refused; its reason follows. Nothing proves that it is the other node's.
	ErrRefused = errors.New("refused by the other node")
)

// Local is this node's side of every handshake.
type Local struct {
	Identity Identity
	Secret   Secret
}

// The sides sign different labels, so that neither can be answered with its own words.
const (
	keyLabel      = "moldau peer handshake 1"
	acceptorLabel = "acceptor"
	dialerLabel   = "dialer"
)

// sign is what a side proves: that it has the secret, in its role, for just these frames.
func (l *Local) sign(label string, frames ...[]byte) (mac [macBytes]byte) {
	key, err := hkdf.Key(sha256.New, l.Secret.key[:], nil, keyLabel, sha256.Size)
	if err != nil {
		panic(err) // only for a length that SHA-256 cannot give
	}
	m := hmac.New(sha256.New, key)
	m.Write([]byte(label))
	for _, f := range frames {
		sum := sha256.Sum256(f)
		m.Write(sum[:])
	}
	m.Sum(mac[:0])
	return mac
}

// suits tells whether who is at the other end may be a node of this cluster.
func (l *Local) suits(other *Identity, secret bool) error {
	mine := &l.Identity
	switch {
	case secret == l.Secret.IsZero():
		return fmt.Errorf("%w: node %d has %s, node %d has %s; cluster.secret.file names the same secret on all nodes or on none",
			ErrSecret, mine.Node, has(!l.Secret.IsZero()), other.Node, has(secret))
	case mine.Cluster != "" && other.Cluster != "" && mine.Cluster != other.Cluster:
		return fmt.Errorf("%w: node %d is of cluster %s, node %d of %s", ErrCluster, mine.Node, mine.Cluster, other.Node, other.Cluster)
	case mine.Node == other.Node:
		return fmt.Errorf("%w: both call themselves node %d; node.id has to differ, and an address must not lead a node to itself", ErrWrongNode, mine.Node)
	}
	return nil
}

func has(secret bool) string {
	if secret {
		return "a secret"
	}
	return "none"
}

func newNonce() (n [nonceBytes]byte) {
	rand.Read(n[:]) // never fails: it ends the process
	return n
}

// Dialer is the side that has opened the connection.
type Dialer struct {
	local Local
	want  ids.NodeID // negative: whoever answers
	hello []byte
}

// NewDialer begins a handshake with the node that is expected at the other end; a negative id stands for an address
// of which nobody has said whose it is.
func NewDialer(local Local, want ids.NodeID, channel Channel) *Dialer {
	h := hello{
		versionMin: versionMin, versionMax: versionMax, channel: channel, secret: !local.Secret.IsZero(),
		identity: local.Identity, nonce: newNonce(),
	}
	return &Dialer{local: local, want: want, hello: h.encode()}
}

// Hello is the frame to begin with.
func (d *Dialer) Hello() []byte { return d.hello }

// Challenge takes the acceptor's first frame and returns the proof to send, and who the acceptor has proved to be. A
// wrong node is told from a wrong secret by what it claims, before that is proved: a person has to mend either.
func (d *Dialer) Challenge(body []byte) (proof []byte, acceptor Identity, err error) {
	if isVerdict(body) {
		return nil, Identity{}, refused(body)
	}
	c, err := decodeChallenge(body)
	if err != nil {
		return nil, Identity{}, err
	}
	if c.version < versionMin || c.version > versionMax {
		return nil, Identity{}, fmt.Errorf("%w: node %d has chosen version %d, this release speaks %d to %d", ErrVersion, c.identity.Node, c.version, versionMin, versionMax)
	}
	if err := d.local.suits(&c.identity, c.secret); err != nil {
		return nil, Identity{}, err
	}
	if d.want >= 0 && c.identity.Node != d.want {
		return nil, Identity{}, fmt.Errorf("%w: node %d was dialled and node %d answers; one of them advertises a wrong address", ErrWrongNode, d.want, c.identity.Node)
	}
	open := c.encodeOpen()
	if mac := d.local.sign(acceptorLabel, d.hello, open); !hmac.Equal(mac[:], c.mac[:]) {
		return nil, Identity{}, fmt.Errorf("%w: node %d does not have this node's", ErrSecret, c.identity.Node)
	}
	return encodeProof(d.local.sign(dialerLabel, d.hello, body)), c.identity, nil
}

// Verdict takes the acceptor's last frame: nil says that the connection is open.
func (d *Dialer) Verdict(body []byte) error {
	refusal, err := decodeVerdict(body)
	if err == nil && refusal != "" {
		err = refused(body)
	}
	return err
}

func refused(verdict []byte) error {
	reason, err := decodeVerdict(verdict)
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %q", ErrRefused, reason)
}

// Acceptor is the side that was dialled.
type Acceptor struct {
	local     Local
	hello     []byte
	challenge []byte
	dialer    Identity
	channel   Channel
}

// NewAcceptor begins a handshake.
func NewAcceptor(local Local) *Acceptor { return &Acceptor{local: local} }

// Hello takes the dialer's first frame and returns the challenge to send.
func (a *Acceptor) Hello(body []byte) (reply []byte, err error) {
	h, err := decodeHello(body)
	if err != nil {
		return nil, err
	}
	version := min(h.versionMax, versionMax)
	if version < versionMin || version < h.versionMin {
		return nil, fmt.Errorf("%w: node %d speaks %d to %d, this release %d to %d", ErrVersion, h.identity.Node, h.versionMin, h.versionMax, versionMin, versionMax)
	}
	if err := a.local.suits(&h.identity, h.secret); err != nil {
		return nil, err
	}
	c := challenge{version: version, secret: !a.local.Secret.IsZero(), identity: a.local.Identity, nonce: newNonce()}
	open := c.encodeOpen()
	mac := a.local.sign(acceptorLabel, body, open)
	a.hello, a.dialer, a.channel = append([]byte(nil), body...), h.identity, h.channel
	a.challenge = append(open, mac[:]...)
	return a.challenge, nil
}

// Proof takes the dialer's second frame and returns who has dialled, and what for. Before it has returned
// without an error nothing that the dialer said is to be believed.
func (a *Acceptor) Proof(body []byte) (Identity, Channel, error) {
	mac, err := decodeProof(body)
	if err != nil {
		return Identity{}, 0, err
	}
	if want := a.local.sign(dialerLabel, a.hello, a.challenge); !hmac.Equal(want[:], mac[:]) {
		return Identity{}, 0, fmt.Errorf("%w: who calls itself node %d does not have this node's", ErrSecret, a.dialer.Node)
	}
	return a.dialer, a.channel, nil
}

// Accepted is the verdict that opens the connection.
func Accepted() []byte { return encodeVerdict("") }

// Refusal is the frame that ends a handshake because of err, which it tells to the other side.
func Refusal(err error) []byte { return encodeVerdict(err.Error()) }
