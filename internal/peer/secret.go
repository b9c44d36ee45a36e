package peer

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// secretBytes is the size of a secret. It is never one that a person has thought up: who listens to a
// handshake can try secrets at leisure.
const secretBytes = 32

// secretPrefix begins the text of a secret, so that another file is told from one.
const secretPrefix = "moldau-secret-1:"

// Secret is what the nodes of a cluster know and nobody else does. The zero value is no secret: nodes without
// one trust whoever reaches them.
type Secret struct {
	key   [secretBytes]byte
	given bool
}

// NewSecret makes a secret.
func NewSecret() Secret {
	s := Secret{given: true}
	rand.Read(s.key[:]) // never fails: it ends the process
	return s
}

// ParseSecret reads what Text has written, white space around it aside. Its error does not repeat the text.
func ParseSecret(text string) (Secret, error) {
	encoded, ok := strings.CutPrefix(strings.TrimSpace(text), secretPrefix)
	if !ok {
		return Secret{}, fmt.Errorf("a cluster secret begins with %q", secretPrefix)
	}
	key, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return Secret{}, errors.New("the cluster secret is damaged: what follows its prefix is not base64url")
	}
	if len(key) != secretBytes {
		return Secret{}, fmt.Errorf("the cluster secret has %d bytes and should have %d", len(key), secretBytes)
	}
	return Secret{[secretBytes]byte(key), true}, nil
}

// IsZero tells whether there is no secret.
func (s Secret) IsZero() bool { return !s.given }

// Text is the secret for the file that keeps it. Nothing else is to show it.
func (s Secret) Text() string {
	return secretPrefix + base64.RawURLEncoding.EncodeToString(s.key[:])
}

// String and GoString keep the secret out of logs and messages.
func (s Secret) String() string {
	if s.IsZero() {
		return "none"
	}
	return "(hidden)"
}

// GoString is String.
func (s Secret) GoString() string { return s.String() }
