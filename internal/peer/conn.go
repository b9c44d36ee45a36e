package peer

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/moldau/moldau/internal/ids"
)

// Dial carries out the dialer's side of a handshake over a connection that was just opened, and returns who the
// acceptor has proved to be. The caller bounds its time with a deadline, and closes the connection after an error.
func Dial(rw io.ReadWriter, local Local, want ids.NodeID, channel Channel) (Identity, error) {
	d := NewDialer(local, want, channel)
	if err := writeFrame(rw, d.Hello()); err != nil {
		return Identity{}, err
	}
	body, err := readFrame(rw)
	if err != nil {
		return Identity{}, err
	}
	proof, acceptor, err := d.Challenge(body)
	if err != nil {
		return Identity{}, err
	}
	if err := writeFrame(rw, proof); err != nil {
		return Identity{}, err
	}
	if body, err = readFrame(rw); err != nil {
		return Identity{}, err
	}
	return acceptor, d.Verdict(body)
}

// Accept carries out the acceptor's side on a connection whose first frame has hello as its body. check, which may
// be nil, has the last word on who has proved to be whom. A refusal is told to the dialer. Deadline and
// closing are the caller's.
func Accept(rw io.ReadWriter, hello []byte, local Local, check func(Identity, Channel) error) (Identity, Channel, error) {
	a := NewAcceptor(local)
	challenge, err := a.Hello(hello)
	if err != nil {
		return Identity{}, 0, refuse(rw, err)
	}
	if err := writeFrame(rw, challenge); err != nil {
		return Identity{}, 0, err
	}
	body, err := readFrame(rw)
	if err != nil {
		return Identity{}, 0, err
	}
	dialer, channel, err := a.Proof(body)
	if err == nil && check != nil {
		err = check(dialer, channel)
	}
	if err != nil {
		return Identity{}, 0, refuse(rw, err)
	}
	return dialer, channel, writeFrame(rw, Accepted())
}

// refuse tells the dialer why, as far as it still listens, and returns the reason.
func refuse(w io.Writer, reason error) error {
	_ = writeFrame(w, Refusal(reason))
	return reason
}

func writeFrame(w io.Writer, body []byte) error {
	if _, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)); err != nil {
		return fmt.Errorf("sending a handshake: %w", err)
	}
	return nil
}

func readFrame(r io.Reader) ([]byte, error) {
	body, err := receive(r, FrameBytesMax)
	if err != nil {
		return nil, fmt.Errorf("receiving a handshake: %w", err)
	}
	return body, nil
}
