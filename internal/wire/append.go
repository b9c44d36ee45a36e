package wire

import (
	"encoding/binary"

	"github.com/moldau/moldau/internal/ids"
)

// AppendInt8 appends one byte.
func AppendInt8(dst []byte, v int8) []byte { return append(dst, byte(v)) }

// AppendInt16 appends a 16-bit integer.
func AppendInt16(dst []byte, v int16) []byte { return binary.BigEndian.AppendUint16(dst, uint16(v)) }

// AppendInt32 appends a 32-bit integer.
func AppendInt32(dst []byte, v int32) []byte { return binary.BigEndian.AppendUint32(dst, uint32(v)) }

// AppendInt64 appends a 64-bit integer.
func AppendInt64(dst []byte, v int64) []byte { return binary.BigEndian.AppendUint64(dst, uint64(v)) }

// AppendUUID appends an identifier.
func AppendUUID(dst []byte, u ids.UUID) []byte { return append(dst, u[:]...) }

// AppendUvarint appends an unsigned varint.
func AppendUvarint(dst []byte, v uint32) []byte { return binary.AppendUvarint(dst, uint64(v)) }

// AppendString appends a string with a 16-bit length.
func AppendString[S ~string | ~[]byte](dst []byte, s S) []byte {
	return append(AppendInt16(dst, int16(len(s))), s...)
}

// AppendNullableString appends a string with a 16-bit length, -1 for nil.
func AppendNullableString(dst []byte, s *string) []byte {
	if s == nil {
		return AppendInt16(dst, -1)
	}
	return AppendString(dst, *s)
}

// AppendCompactString appends a string with a compact length.
func AppendCompactString[S ~string | ~[]byte](dst []byte, s S) []byte {
	return append(AppendUvarint(dst, uint32(len(s))+1), s...)
}

// AppendNoTags appends an empty set of tagged fields.
func AppendNoTags(dst []byte) []byte { return append(dst, 0) }

// appendString appends a string as a version has it.
func appendString[S ~string | ~[]byte](dst []byte, flexible bool, s S) []byte {
	if flexible {
		return AppendCompactString(dst, s)
	}
	return AppendString(dst, s)
}

// appendMessage appends a nullable string, for which the empty string is null: a
// broker has no use for an empty message.
func appendMessage(dst []byte, flexible bool, s string) []byte {
	switch {
	case s != "":
		return appendString(dst, flexible, s)
	case flexible:
		return append(dst, 0)
	default:
		return AppendInt16(dst, -1)
	}
}

// appendArrayLen appends the length of an array as a version has it; -1 is null.
func appendArrayLen(dst []byte, flexible bool, n int) []byte {
	if flexible {
		return AppendUvarint(dst, uint32(n+1))
	}
	return AppendInt32(dst, int32(n))
}
