package platform

import (
	"bytes"
	"strings"
	"sync"
	"unicode/utf16"
	"unicode/utf8"
)

// escape returns the length of the escape that b begins with; 0 if it is none.
func escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if hex4(b[2:]) >= 0 {
			return 6
		}
	}
	return 0
}

// hex4 reads four hexadecimal digits; -1 if they are not.
func hex4(b []byte) rune {
	if len(b) < 4 {
		return -1
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c|0x20 - 'a' + 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// appendText appends what a text between quotes means; its escapes have been
// checked. What is not Unicode (invalid UTF-8, half of a surrogate pair) becomes
// U+FFFD, and whole is false then: two such texts may differ and look alike.
func appendText(dst, raw []byte) (text []byte, whole bool) {
	whole = true
	for i := 0; i < len(raw); {
		c := raw[i]
		switch {
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRune(raw[i:])
			if r == utf8.RuneError && n == 1 {
				whole = false
			}
			dst = utf8.AppendRune(dst, r)
			i += n
		case c != '\\':
			dst = append(dst, c)
			i++
		case raw[i+1] != 'u':
			dst = append(dst, "\"\\/\b\f\n\r\t"[strings.IndexByte(`"\/bfnrt`, raw[i+1])])
			i += 2
		default:
			r := hex4(raw[i+2:])
			i += 6
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if bytes.HasPrefix(raw[i:], []byte(`\u`)) {
					low = hex4(raw[i+2:])
				}
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					whole = false
				} else {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst, whole
}

// maxText is how many bytes of a text are kept. A few of the fields in one event
// must stay far below what a message may hold.
const maxText = 1024

// clip cuts a text at most bytes, between two characters.
func clip(b []byte, most int) []byte {
	if len(b) <= most {
		return b
	}
	for most > 0 && !utf8.RuneStart(b[most]) {
		most--
	}
	return b[:most]
}

// clipped is a text as errors quote it.
func clipped(s string) string {
	const most = 40
	if len(s) > most {
		return string(clip([]byte(s), most)) + "…"
	}
	return s
}

// interner keeps one copy of texts that many records share, such as names of
// locations. It holds at most two generations: the older one is dropped when the
// younger is full, and what is in use moves on to the younger.
type interner struct {
	mu         sync.Mutex
	young, old map[string]string
}

// What an interner holds at most, some 2 MB.
const (
	generation  = 4096
	longestKept = 256
)

func (n *interner) of(b []byte) string {
	if len(b) == 0 || len(b) > longestKept {
		return string(b)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if kept, ok := n.young[string(b)]; ok {
		return kept
	}
	kept, ok := n.old[string(b)]
	if !ok {
		kept = string(b)
	}
	if n.young == nil || len(n.young) >= generation {
		n.old, n.young = n.young, make(map[string]string)
	}
	n.young[kept] = kept
	return kept
}
