package events

import (
	"bytes"
	"math"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads the JSON text of one event from front to back. It exists since
// reflection is too slow for a consumer that rebuilds its state from the whole
// stream; it knows nothing of events but their names.
//
// It reads what RFC 8259 allows and, beyond that, refuses what parsers read
// differently: a known name twice in one object, and half of a surrogate pair.
// A null counts as an absent member. The first error sticks, and every method
// is a no-op from then on.
type scanner struct {
	in  []byte // valid UTF-8
	at  int
	err *FieldError
	// path holds the keys that lead to the value being read.
	path  [maxPath][]byte
	depth int
}

const (
	maxPath = 4    // data.observed.rounding.uploaded_bytes
	maxNest = 1000 // of a value that is skipped
)

func (s *scanner) fail(reason string) {
	if s.err == nil {
		field := bytes.Join(s.path[:s.depth], []byte{'.'})
		s.err = &FieldError{Field: strings.TrimRight(string(field), "."), Reason: reason}
	}
	s.at = len(s.in)
}

// peek skips white space and returns the byte there, or 0 at the end.
func (s *scanner) peek() byte {
	for ; s.at < len(s.in); s.at++ {
		if c := s.in[s.at]; c > ' ' || c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c
		}
	}
	return 0
}

// is consumes the literal if it comes next.
func (s *scanner) is(literal string) bool {
	s.peek()
	if len(s.in)-s.at < len(literal) || string(s.in[s.at:s.at+len(literal)]) != literal {
		return false
	}
	s.at += len(literal)
	return true
}

func (s *scanner) null() bool { return s.peek() == 'n' && s.is("null") }

// enter steps into an object whose members next will read; false for null.
func (s *scanner) enter() bool {
	if s.null() {
		return false
	}
	if s.peek() != '{' {
		s.fail("is not an object")
		return false
	}
	s.at++
	s.path[s.depth] = nil
	s.depth++
	return true
}

// members is what was met of one object; its zero value is for the first call of
// next.
type members struct {
	any  bool
	seen uint64
}

// next steps to the next member's value and returns its name; false after the
// last, when it has left the object.
func (s *scanner) next(m *members) (name, bool) {
	if s.err != nil {
		return unknown, false
	}
	if s.peek() == '}' {
		s.at++
		s.depth--
		return unknown, false
	}
	s.path[s.depth-1] = nil
	if m.any && !s.is(",") {
		s.fail("has no ',' or '}' after a member")
		return unknown, false
	}
	m.any = true
	if s.peek() != '"' {
		s.fail("has a member without a name")
		return unknown, false
	}
	key := s.quoted()
	if !s.is(":") {
		s.fail("has a member without ':'")
		return unknown, false
	}
	s.path[s.depth-1] = key
	n := nameOf(key)
	if n != unknown {
		if m.seen&(1<<n) != 0 {
			s.fail("occurs twice")
			return unknown, false
		}
		m.seen |= 1 << n
	}
	return n, true
}

func (s *scanner) text() string { return string(s.raw()) }

// raw is text without the copy: it is valid as long as the input.
func (s *scanner) raw() []byte {
	if s.null() {
		return nil
	}
	return s.quoted()
}

func (s *scanner) quoted() []byte {
	if s.peek() != '"' {
		s.fail("is not a string")
		return nil
	}
	s.at++
	for i := s.at; i < len(s.in); i++ {
		switch c := s.in[i]; {
		case c == '"':
			text := s.in[s.at:i]
			s.at = i + 1
			return text
		case c == '\\':
			return s.unescape(i)
		case c < ' ':
			s.fail("has a control character in a string")
			return nil
		}
	}
	s.fail("has a string without end")
	return nil
}

// unescape reads the rest of a string, from its first backslash at i.
func (s *scanner) unescape(i int) []byte {
	text := append(make([]byte, 0, i-s.at+32), s.in[s.at:i]...)
	for s.at = i; s.at < len(s.in); {
		c := s.in[s.at]
		s.at++
		switch {
		case c == '"':
			return text
		case c < ' ':
			s.fail("has a control character in a string")
			return nil
		case c != '\\':
			text = append(text, c)
			continue
		}
		if s.at == len(s.in) {
			break
		}
		c = s.in[s.at]
		s.at++
		if at := strings.IndexByte(`"\/bfnrt`, c); at >= 0 {
			text = append(text, "\"\\/\b\f\n\r\t"[at])
			continue
		}
		r := rune(-1)
		if c == 'u' {
			r = s.hex()
		}
		if utf16.IsSurrogate(r) {
			low := rune(-1)
			if s.at+1 < len(s.in) && s.in[s.at] == '\\' && s.in[s.at+1] == 'u' {
				s.at += 2
				low = s.hex()
			}
			if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
				r = -1
			}
		}
		if r < 0 {
			s.fail("has a bad escape in a string")
			return nil
		}
		text = utf8.AppendRune(text, r)
	}
	s.fail("has a string without end")
	return nil
}

// hex reads four hexadecimal digits; -1 if they are not.
func (s *scanner) hex() rune {
	if len(s.in)-s.at < 4 {
		return -1
	}
	var r rune
	for _, c := range s.in[s.at : s.at+4] {
		at := strings.IndexByte("0123456789abcdefABCDEF", c)
		if at < 0 {
			return -1
		}
		if at > 15 {
			at -= 6
		}
		r = r<<4 | rune(at)
	}
	s.at += 4
	return r
}

func (s *scanner) boolean() bool {
	switch {
	case s.is("true"):
		return true
	case s.is("false"), s.null():
	default:
		s.fail("is not a boolean")
	}
	return false
}

func (s *scanner) number() int64 {
	if s.null() {
		return 0
	}
	negative := s.is("-")
	start, n := s.at, uint64(0)
	for ; s.at < len(s.in); s.at++ {
		digit := s.in[s.at] - '0'
		if digit > 9 {
			break
		}
		if n > math.MaxInt64/10 {
			s.fail("does not fit 64 bits")
			return 0
		}
		n = n*10 + uint64(digit)
	}
	limit := uint64(math.MaxInt64)
	if negative {
		limit++
	}
	switch digits := s.in[start:s.at]; {
	case len(digits) == 0, len(digits) > 1 && digits[0] == '0',
		s.at < len(s.in) && (s.in[s.at] == '.' || s.in[s.at] == 'e' || s.in[s.at] == 'E'):
		s.fail("is not an integer")
		return 0
	case n > limit:
		s.fail("does not fit 64 bits")
		return 0
	case negative:
		return -int64(n) // also right for 1<<63
	}
	return int64(n)
}

// time reads an RFC 3339 time as UTC.
func (s *scanner) time() time.Time {
	var t time.Time
	text := s.raw()
	if text == nil {
		return t
	}
	if t.UnmarshalText(text) != nil {
		s.fail("is not an RFC 3339 time")
		return time.Time{}
	}
	t = t.UTC()
	if t.Year() < 0 || t.Year() > 9999 {
		s.fail("is outside of the years 0 to 9999 in UTC")
		return time.Time{}
	}
	return t
}

// skip reads a value of any type and checks its syntax.
func (s *scanner) skip(nest int) {
	if nest > maxNest {
		s.fail("is nested too deeply")
		return
	}
	switch c := s.peek(); c {
	case '"':
		s.quoted()
	case 't', 'f', 'n':
		if !s.is("true") && !s.is("false") && !s.is("null") {
			s.fail("is not a JSON value")
		}
	case '{', '[':
		s.skipNested(c, nest)
	default:
		s.skipNumber()
	}
}

func (s *scanner) skipNested(open byte, nest int) {
	closing := open + 2 // in ASCII both of "{}" and "[]" are two apart
	s.at++
	for first := true; s.err == nil; first = false {
		if s.peek() == closing && first {
			s.at++
			return
		}
		if open == '{' {
			s.peek()
			s.quoted()
			if !s.is(":") {
				s.fail("has a member without ':'")
			}
		}
		s.skip(nest + 1)
		switch s.peek() {
		case closing:
			s.at++
			return
		case ',':
			s.at++
		default:
			s.fail("has a list or object without end")
		}
	}
}

func (s *scanner) skipNumber() {
	digits := func() int {
		start := s.at
		for s.at < len(s.in) && s.in[s.at]-'0' <= 9 {
			s.at++
		}
		return s.at - start
	}
	after := func(set string) bool {
		if s.at < len(s.in) && strings.IndexByte(set, s.in[s.at]) >= 0 {
			s.at++
			return true
		}
		return false
	}
	after("-")
	ok := after("0") || digits() > 0
	if ok && after(".") {
		ok = digits() > 0
	}
	if ok && after("eE") {
		after("+-")
		ok = digits() > 0
	}
	if !ok {
		s.fail("is not a JSON value")
	}
}
