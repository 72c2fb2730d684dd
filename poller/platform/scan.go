package platform

import (
	"errors"
	"fmt"
)

// scanner reads JSON text from front to back. It exists since reading values
// whose type is not sure by reflection costs several times as much as all the
// rest of a page. It checks the syntax of everything, skipped or not, as RFC 8259
// has it; like encoding/json it takes text that is not UTF-8, see appendText.
// The first error sticks, and every method is a no-op from then on.
type scanner struct {
	in  []byte
	at  int
	err error
}

// value is one JSON value. Its raw text is valid as long as the scanner's input.
type value struct {
	// kind is the first character, '0' for any number; 0 means that there is none.
	kind byte
	raw  []byte // of a text what is between the quotes
	// plain texts are ASCII without escapes, so that raw is what they mean.
	plain bool
}

func (v value) missing() bool { return v.kind == 0 || v.kind == 'n' }

// maxNest is how deep values may nest; documented answers nest three deep.
const maxNest = 100

var errCut = errors.New("the JSON ends in the middle")

func (s *scanner) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("byte %d: %w", s.at, fmt.Errorf(format, args...))
		if s.at >= len(s.in) {
			s.err = errCut
		}
	}
	s.at = len(s.in)
}

// peek skips white space and returns the byte there; 0 at the end.
func (s *scanner) peek() byte {
	for ; s.at < len(s.in); s.at++ {
		if c := s.in[s.at]; c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c
		}
	}
	return 0
}

// enter steps into an object or array, of which more then tells if there is a
// further member.
func (s *scanner) enter() { s.at++ }

// more steps to the i-th member, or past the closing bracket.
func (s *scanner) more(closing byte, i int) bool {
	if s.err != nil {
		return false
	}
	c := s.peek()
	if c == closing {
		s.at++
		return false
	}
	if i > 0 {
		if c != ',' {
			s.fail("found %q, want ',' or %q", c, closing)
			return false
		}
		s.at++
		s.peek()
	}
	return true
}

// key reads a member's name and the colon behind it.
func (s *scanner) key() []byte {
	if s.peek() != '"' {
		s.fail("want a member's name in quotes")
		return nil
	}
	raw, plain := s.quoted()
	if s.peek() != ':' {
		s.fail("want ':' behind a member's name")
		return nil
	}
	s.at++
	if !plain {
		raw, _ = appendText(nil, raw)
	}
	return raw
}

// value reads a value, whatever it is.
func (s *scanner) value() value { return s.nested(0) }

func (s *scanner) nested(depth int) value {
	if s.err != nil {
		return value{}
	}
	c := s.peek()
	start := s.at
	v := value{kind: c}
	switch c {
	case '"':
		v.raw, v.plain = s.quoted()
		return v
	case '{', '[':
		s.members(c, depth)
	case 't':
		s.literal("true")
	case 'f':
		s.literal("false")
	case 'n':
		s.literal("null")
	default:
		v.kind = '0'
		s.number()
	}
	if s.err != nil {
		return value{}
	}
	v.raw = s.in[start:s.at]
	return v
}

func (s *scanner) members(open byte, depth int) {
	if depth >= maxNest {
		s.fail("values nest more than %d deep", maxNest)
		return
	}
	s.enter()
	for i := 0; s.more(open+2, i); i++ { // in ASCII both of "{}" and "[]" are two apart
		if open == '{' {
			s.key()
		}
		s.nested(depth + 1)
	}
}

func (s *scanner) literal(word string) {
	if rest := s.in[s.at:]; len(rest) < len(word) {
		s.at = len(s.in)
		s.fail("cut off")
	} else if string(rest[:len(word)]) != word {
		s.fail("want a JSON value")
	}
	s.at += len(word)
}

func (s *scanner) number() {
	digits := func() bool {
		start := s.at
		for s.at < len(s.in) && s.in[s.at]-'0' <= 9 {
			s.at++
		}
		return s.at > start
	}
	is := func(a, b byte) bool {
		if s.at < len(s.in) && (s.in[s.at] == a || s.in[s.at] == b) {
			s.at++
			return true
		}
		return false
	}
	is('-', '-')
	ok := is('0', '0') || digits()
	if ok && is('.', '.') {
		ok = digits()
	}
	if ok && is('e', 'E') {
		is('+', '-')
		ok = digits()
	}
	if !ok {
		s.fail("want a JSON value")
	}
}

// ordinary are the characters of a text that mean themselves and need no look.
var ordinary = func() (t [256]bool) {
	for c := ' '; c < 0x80; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// quoted reads a text and checks its escapes.
func (s *scanner) quoted() (raw []byte, plain bool) {
	start := s.at + 1
	plain = true
	for i := start; ; i++ {
		for i < len(s.in) && ordinary[s.in[i]] {
			i++
		}
		if i >= len(s.in) {
			s.at = i
			s.fail("cut off")
			return nil, false
		}
		switch c := s.in[i]; {
		case c == '"':
			s.at = i + 1
			return s.in[start:i], plain
		case c == '\\':
			n := escape(s.in[i:])
			if n == 0 {
				if s.at = i; len(s.in)-i < len(`\u0000`) {
					s.at = len(s.in) // as good as cut off
				}
				s.fail("bad escape in a text")
				return nil, false
			}
			plain, i = false, i+n-1
		case c < ' ':
			s.at = i
			s.fail("control character in a text")
			return nil, false
		default:
			plain = false
		}
	}
}

// whole reads the one value that a body is by calling read, and refuses anything
// behind it.
func (s *scanner) whole(read func()) error {
	if len(s.in) >= 3 && string(s.in[:3]) == "\ufeff" {
		s.at = 3
	}
	if s.peek() == 0 && s.at == len(s.in) {
		return errors.New("the body is empty")
	}
	read()
	if s.err == nil && (s.peek() != 0 || s.at < len(s.in)) {
		s.fail("there is more behind the end of the JSON")
	}
	return s.err
}
