package store

import (
	"encoding/binary"
	"math"
	"time"
)

func appendTime(b []byte, t time.Time) []byte {
	b = binary.AppendVarint(b, t.Unix())
	return binary.AppendUvarint(b, uint64(t.Nanosecond()))
}

// appendTimeIf writes a time that may be zero: one byte tells.
func appendTimeIf(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	return appendTime(append(b, 1), t)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// input reads a record front to back. The first thing that cannot be read makes it
// bad; from then on it yields zero values.
type input struct {
	b   []byte
	bad bool
}

func (in *input) fail() {
	in.b, in.bad = nil, true
}

func (in *input) byte() byte {
	if len(in.b) == 0 {
		in.fail()
		return 0
	}
	v := in.b[0]
	in.b = in.b[1:]
	return v
}

func (in *input) uvarint() uint64 {
	// Most numbers are below 128.
	if len(in.b) > 0 && in.b[0] < 0x80 {
		v := in.b[0]
		in.b = in.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(in.b)
	if n <= 0 {
		in.fail()
		return 0
	}
	in.b = in.b[n:]
	return v
}

func (in *input) varint() int64 {
	v := in.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

// length reads the length of something that is still to come, so it is at most
// what is left.
func (in *input) length() int {
	n := in.uvarint()
	if n > uint64(len(in.b)) {
		in.fail()
		return 0
	}
	return int(n)
}

func (in *input) text() []byte {
	n := in.length()
	t := in.b[:n]
	in.b = in.b[n:]
	return t
}

func (in *input) time() time.Time {
	seconds, nanos := in.varint(), in.uvarint()
	if nanos >= 1e9 {
		in.fail()
		return time.Time{}
	}
	return time.Unix(seconds, int64(nanos)).UTC()
}

func (in *input) timeIf(present bool) time.Time {
	if !present {
		return time.Time{}
	}
	return in.time()
}

func (in *input) optionalTime() time.Time {
	switch in.byte() {
	case 0:
	case 1:
		return in.time()
	default:
		in.fail()
	}
	return time.Time{}
}

// count reads a number that is not negative as an int64.
func (in *input) count() int64 {
	n := in.uvarint()
	if n > math.MaxInt64 {
		in.fail()
		return 0
	}
	return int64(n)
}

// rest returns what was not read yet.
func (in *input) rest() []byte {
	b := in.b
	in.b = nil
	return b
}

// sequenceKey is the key of an outbox entry: big-endian, so that keys are in the
// order of the numbers.
func sequenceKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

func sequenceOf(key []byte) (uint64, error) {
	if len(key) != 8 {
		return 0, damaged("outbox key %x", key)
	}
	return binary.BigEndian.Uint64(key), nil
}
