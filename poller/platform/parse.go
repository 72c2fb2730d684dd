package platform

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"
)

// canonicalMAC returns aa:bb:cc:dd:ee:ff for the usual ways to write it, and
// other text as it is.
func canonicalMAC(s string) string {
	s = strings.TrimSpace(s)
	if len(s) == 17 && isLowerMAC(s) {
		return s
	}
	var digits []byte
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9' || c >= 'a' && c <= 'f':
			digits = append(digits, c)
		case c >= 'A' && c <= 'F':
			digits = append(digits, c|0x20)
		case c == ':' || c == '-' || c == '.' || c == ' ':
		default:
			return s
		}
	}
	if len(digits) != 12 {
		return s
	}
	out := make([]byte, 0, 17)
	for i := 0; i < 12; i += 2 {
		if i > 0 {
			out = append(out, ':')
		}
		out = append(out, digits[i], digits[i+1])
	}
	return string(out)
}

func isLowerMAC(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if i%3 == 2 {
			if c != ':' {
				return false
			}
		} else if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// canonicalIP returns the canonical text of an address, an IPv4 one in IPv6 form
// as IPv4, and other text as it is.
func canonicalIP(s string) string {
	s = strings.TrimSpace(s)
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return s
	}
	return addr.Unmap().String()
}

const maxID = 256

var errNoID = errors.New("empty")

// checkID reports what makes an id useless as an identity.
func checkID(id string) error {
	switch {
	case id == "":
		return errNoID
	case len(id) > maxID:
		return fmt.Errorf("longer than %d bytes", maxID)
	case strings.ContainsRune(id, 0):
		return errors.New("contains NUL")
	case strings.ContainsRune(id, utf8.RuneError):
		// Two damaged ids may read as the same.
		return errors.New("is not valid UTF-8")
	}
	return nil
}

func clipped(s string) string {
	const most = 40
	if len(s) > most {
		return clip(s, most) + "…"
	}
	return s
}

// clip cuts a text to most bytes at most, between two characters.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
