package ids

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
)

// UUID is a 128-bit identifier written as Kafka writes it: 22 characters of
// unpadded URL-safe base64. The zero UUID means absent.
type UUID [16]byte

// TopicID identifies one life of a topic: a topic that is deleted and created
// again has another id (KIP-516).
type TopicID = UUID

// DirectoryID identifies a log directory (KIP-858).
type DirectoryID = UUID

// ZeroUUID is the absent identifier.
var ZeroUUID UUID

// reservedUUIDs counts the smallest identifiers, which Kafka keeps for directories
// that are unassigned, lost or migrating.
const reservedUUIDs = 100

// NewUUID returns a random version 4 identifier whose text does not begin with '-',
// so that it can be given to a command line as it is.
func NewUUID() UUID {
	for {
		var u UUID
		rand.Read(u[:]) // never fails: crypto/rand ends the process instead
		u[6] = u[6]&0x0f | 0x40
		u[8] = u[8]&0x3f | 0x80
		if !u.Reserved() && u.String()[0] != '-' {
			return u
		}
	}
}

// Reserved tells whether u is one of the identifiers that Kafka gives a meaning of its own.
func (u UUID) Reserved() bool {
	for _, b := range u[:15] {
		if b != 0 {
			return false
		}
	}
	return u[15] < reservedUUIDs
}

// IsZero tells whether u is absent.
func (u UUID) IsZero() bool { return u == ZeroUUID }

func (u UUID) String() string { return base64.RawURLEncoding.EncodeToString(u[:]) }

// ParseUUID reads the 22 characters that String writes.
func ParseUUID(s string) (UUID, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != 16 {
		return UUID{}, fmt.Errorf("%q is not an identifier of 22 characters of URL-safe base64", s)
	}
	return UUID(b), nil
}
