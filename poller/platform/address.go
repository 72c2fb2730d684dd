package platform

import (
	"bytes"
	"net/netip"
)

// canonicalMAC returns aa:bb:cc:dd:ee:ff for the usual ways to write it (between
// the digits -, :, . or nothing; either case), and other text as it is.
func canonicalMAC(text []byte) string {
	if len(text) < 12 || len(text) > 17 {
		return string(text)
	}
	var digits [12]byte
	n := 0
	separator := byte(0)
	for _, c := range text {
		switch {
		case c-'0' <= 9 || c >= 'a' && c <= 'f':
		case c >= 'A' && c <= 'F':
			c |= 0x20
		case (c == ':' || c == '-' || c == '.') && n > 0 && (separator == 0 || separator == c):
			separator = c
			continue
		default:
			return string(text)
		}
		if n == len(digits) {
			return string(text)
		}
		digits[n] = c
		n++
	}
	if n != len(digits) || separator != 0 && !spaced(text, separator) {
		return string(text)
	}
	var out [17]byte
	for i := range 6 {
		if i > 0 {
			out[3*i-1] = ':'
		}
		out[3*i], out[3*i+1] = digits[2*i], digits[2*i+1]
	}
	return string(out[:])
}

// spaced reports whether the separators cut a MAC address into equal parts of 2,
// 4 or 6 digits.
func spaced(text []byte, separator byte) bool {
	size := bytes.IndexByte(text, separator)
	if size != 2 && size != 4 && size != 6 || len(text) != 12+12/size-1 {
		return false
	}
	for i, c := range text {
		if (c == separator) != (i%(size+1) == size) {
			return false
		}
	}
	return true
}

// canonicalIP returns the canonical text of an address, of an IPv4 address in
// IPv6 form that of the IPv4 one, and other text as it is.
func canonicalIP(text []byte) string {
	s := string(text)
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return s
	}
	return addr.Unmap().String()
}
