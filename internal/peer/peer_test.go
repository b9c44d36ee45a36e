package peer

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/ids"
)

func local(node ids.NodeID, cluster string, s Secret) Local {
	return Local{Identity{Cluster: cluster, Node: node, Directory: ids.UUID{15: byte(node)}, Epoch: int64(node) * 10}, s}
}

// outcome is how both sides saw a handshake.
type outcome struct {
	dialed, accepted       Identity
	channel                Channel
	dialError, acceptError error
}

// shake has a dial b, whom it takes for node want.
func shake(t *testing.T, a, b Local, want ids.NodeID, check func(Identity, Channel) error) (o outcome) {
	t.Helper()
	left, right := net.Pipe()
	defer left.Close()
	left.SetDeadline(time.Now().Add(10 * time.Second))
	right.SetDeadline(time.Now().Add(10 * time.Second))
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer right.Close()
		hello, err := readFrame(right)
		if err != nil || !IsHello(hello) {
			o.acceptError = fmt.Errorf("no hello: %v", err)
			return
		}
		o.accepted, o.channel, o.acceptError = Accept(right, hello, b, check)
	}()
	o.dialed, o.dialError = Dial(left, a, want, ChannelQuorum)
	left.Close()
	<-done
	return o
}

func TestHandshake(t *testing.T) {
	s := NewSecret()
	for _, c := range []struct {
		name string
		a, b Local
	}{
		{"with a secret", local(1, "c", s), local(2, "c", s)},
		{"without", local(1, "c", Secret{}), local(2, "c", Secret{})},
		{"the dialer has no cluster yet", local(1, "", s), local(2, "c", s)},
		{"nobody has", local(1, "", s), local(2, "", s)},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := shake(t, c.a, c.b, 2, nil)
			if o.dialError != nil || o.acceptError != nil {
				t.Fatalf("%v, %v", o.dialError, o.acceptError)
			}
			if o.dialed != c.b.Identity || o.accepted != c.a.Identity || o.channel != ChannelQuorum {
				t.Errorf("%+v", o)
			}
		})
	}
}

func TestHandshakeRefuses(t *testing.T) {
	s, other := NewSecret(), NewSecret()
	busy := errors.New("node 1 is connected already")
	for _, c := range []struct {
		name         string
		a, b         Local
		want         ids.NodeID
		check        func(Identity, Channel) error
		dial, accept error  // nil: the connection has just ended
		says         string // of the side that saw it first
	}{
		{name: "another secret", a: local(1, "c", s), b: local(2, "c", other), want: 2, dial: ErrSecret, says: "node 2 does not have this node's"},
		{name: "a secret here alone", a: local(1, "c", s), b: local(2, "c", Secret{}), want: 2, accept: ErrSecret, dial: ErrRefused, says: "cluster.secret.file"},
		{name: "a secret there alone", a: local(1, "c", Secret{}), b: local(2, "c", s), want: 2, accept: ErrSecret, dial: ErrRefused, says: "cluster.secret.file"},
		{name: "another cluster", a: local(1, "c", s), b: local(2, "d", s), want: 2, accept: ErrCluster, dial: ErrRefused, says: "node 2 is of cluster d, node 1 of c"},
		{name: "one's own node id", a: local(2, "c", s), b: local(2, "c", s), want: 2, accept: ErrWrongNode, dial: ErrRefused, says: "both call themselves node 2"},
		{name: "a wrong address", a: local(1, "c", s), b: local(3, "c", s), want: 2, dial: ErrWrongNode, says: "node 2 was dialled and node 3 answers"},
		{name: "refused by who was dialled", a: local(1, "c", s), b: local(2, "c", s), want: 2, dial: ErrRefused, accept: busy, says: "node 1 is connected already",
			check: func(Identity, Channel) error { return busy }},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := shake(t, c.a, c.b, c.want, c.check)
			if !errors.Is(o.dialError, c.dial) || c.accept != nil && !errors.Is(o.acceptError, c.accept) {
				t.Errorf("%v, %v", o.dialError, o.acceptError)
			}
			if o.acceptError == nil {
				t.Error("accepted")
			}
			if !strings.Contains(o.dialError.Error(), c.says) {
				t.Errorf("%q does not say %q", o.dialError, c.says)
			}
		})
	}
}

// sides is a handshake whose frames a test may change.
type sides struct {
	d *Dialer
	a *Acceptor
}

func newSides(s Secret) sides {
	return sides{NewDialer(local(1, "c", s), 2, ChannelQuorum), NewAcceptor(local(2, "c", s))}
}

// Whoever is in between and has no secret can change no bit of what the sides prove.
func TestEveryBitCounts(t *testing.T) {
	s := NewSecret()
	for _, frame := range []string{"hello", "challenge", "proof"} {
		for bit := 0; ; bit++ {
			flip := func(name string, p []byte) []byte {
				p = append([]byte(nil), p...)
				if name == frame && bit < len(p)*8 {
					p[bit/8] ^= 1 << (bit % 8)
				}
				return p
			}
			x := newSides(s)
			hello := flip("hello", x.d.Hello())
			challenge, err := x.a.Hello(hello)
			var proof []byte
			if err == nil {
				proof, _, err = x.d.Challenge(flip("challenge", challenge))
			}
			if err == nil {
				proof = flip("proof", proof)
				_, _, err = x.a.Proof(proof)
			}
			over := frame == "hello" && bit >= len(hello)*8 || frame == "challenge" && bit >= len(challenge)*8 || frame == "proof" && bit >= len(proof)*8
			if over && bit > 0 && proof != nil {
				if err != nil {
					t.Fatalf("unchanged: %v", err)
				}
				break
			}
			if err == nil {
				t.Fatalf("bit %d of the %s may be changed", bit, frame)
			}
		}
	}
}

// A proof is good for one connection, and in one direction.
func TestNothingCanBeReplayed(t *testing.T) {
	s := NewSecret()
	x := newSides(s)
	challenge, err := x.a.Hello(x.d.Hello())
	if err != nil {
		t.Fatal(err)
	}
	proof, _, err := x.d.Challenge(challenge)
	if err != nil {
		t.Fatal(err)
	}
	again := NewAcceptor(x.a.local)
	if _, err := again.Hello(x.d.Hello()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := again.Proof(proof); !errors.Is(err, ErrSecret) {
		t.Errorf("a recorded dialer: %v", err)
	}
	if _, _, err := NewDialer(x.d.local, 2, ChannelQuorum).Challenge(challenge); !errors.Is(err, ErrSecret) {
		t.Errorf("a recorded acceptor: %v", err)
	}
	// Its own MAC sent back: the labels differ.
	c, err := decodeChallenge(challenge)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := x.a.Proof(encodeProof(c.mac)); !errors.Is(err, ErrSecret) {
		t.Errorf("a mirror: %v", err)
	}
}

func TestVersions(t *testing.T) {
	for _, c := range []struct {
		least, most uint16
		err         error
	}{{1, 1, nil}, {1, 9, nil}, {0, 1, nil}, {2, 9, ErrVersion}, {0, 0, ErrVersion}} {
		h := hello{versionMin: c.least, versionMax: c.most, channel: ChannelQuorum, identity: local(1, "c", Secret{}).Identity}
		reply, err := NewAcceptor(local(2, "c", Secret{})).Hello(h.encode())
		if !errors.Is(err, c.err) {
			t.Errorf("%d to %d: %v, want %v", c.least, c.most, err, c.err)
		}
		if err != nil {
			continue
		}
		if got, err := decodeChallenge(reply); err != nil || got.version != 1 {
			t.Errorf("%d to %d: version %d, %v", c.least, c.most, got.version, err)
		}
	}
	x := newSides(Secret{})
	c := challenge{version: 2, identity: x.a.local.Identity}
	if _, _, err := x.d.Challenge(append(c.encodeOpen(), make([]byte, macBytes)...)); !errors.Is(err, ErrVersion) {
		t.Errorf("an acceptor that speaks version 2: %v", err)
	}
}

func TestSecretText(t *testing.T) {
	s := NewSecret()
	got, err := ParseSecret("\n " + s.Text() + " \n")
	if err != nil || got != s || got.IsZero() {
		t.Fatalf("%v, %v", got == s, err)
	}
	if NewSecret() == s {
		t.Error("two secrets are equal")
	}
	if shown := fmt.Sprintf("%v %+v %#v %s", s, s, s, s); shown != "(hidden) (hidden) (hidden) (hidden)" {
		t.Errorf("printed as %s", shown)
	}
	for _, c := range []struct{ text, says string }{
		{"", `begins with "moldau-secret-1:"`},
		{"password", `begins with "moldau-secret-1:"`},
		{secretPrefix + "!!!!", "not base64url"},
		{secretPrefix + "c2hvcnQ", "5 bytes"},
		{s.Text() + "QUFB", "35 bytes"},
	} {
		if _, err := ParseSecret(c.text); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v", c.text, err)
		} else if c.text != "" && len(c.text) > len(secretPrefix) && strings.Contains(err.Error(), strings.TrimPrefix(c.text, secretPrefix)) {
			t.Errorf("the error repeats the secret: %v", err)
		}
	}
}

func TestFramesAreBounded(t *testing.T) {
	if _, err := readFrame(strings.NewReader("\x7f\xff\xff\xff")); !errors.Is(err, ErrFrame) {
		t.Errorf("2 GiB: %v", err)
	}
	long := Refusal(errors.New(strings.Repeat("x", 10_000)))
	if len(long) > FrameBytesMax {
		t.Errorf("a refusal of %d bytes", len(long))
	}
}

// FuzzFrames: no frame from outside ends in a panic or opens a connection.
func FuzzFrames(f *testing.F) {
	s := NewSecret()
	x := newSides(s)
	challenge, err := x.a.Hello(x.d.Hello())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(x.d.Hello())
	f.Add(challenge)
	f.Add(encodeProof([macBytes]byte{}))
	f.Add(Refusal(errors.New("no")))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if _, err := NewAcceptor(local(2, "c", s)).Hello(frame); err == nil {
			h, err := decodeHello(frame)
			if err != nil || string(h.encode()) != string(frame) {
				t.Fatalf("%+v, %v", h, err)
			}
		}
		y := newSides(s)
		if _, err := y.a.Hello(y.d.Hello()); err != nil {
			t.Fatal(err)
		}
		if _, _, err := y.d.Challenge(frame); err == nil {
			t.Fatal("a challenge was made up")
		}
		if _, _, err := y.a.Proof(frame); err == nil {
			t.Fatal("a proof was made up")
		}
		if err := y.d.Verdict(frame); err == nil && string(frame) != string(Accepted()) {
			t.Fatalf("%q counts as a verdict", frame)
		}
	})
}
