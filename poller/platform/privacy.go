package platform

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Mode says what becomes of a piece of personal data.
type Mode string

// The modes; the empty Mode is Keep.
const (
	Keep Mode = "keep"
	// Hash replaces it by a pseudonym: the same value always gets the same one,
	// and only who has the key can tell which.
	Hash Mode = "hash"
	Drop Mode = "drop"
)

// Privacy is applied before a record leaves this package.
type Privacy struct {
	MAC, IP, Name, Email Mode
	// Key of the pseudonyms; needed where a mode is Hash.
	Key string
}

// pseudonymBytes of the HMAC-SHA256 are kept: enough that two guests of an
// account never share one.
const pseudonymBytes = 16

func (p *Privacy) check() []error {
	var errs []error
	for _, m := range []struct {
		name string
		mode Mode
	}{{"MAC", p.MAC}, {"IP", p.IP}, {"name", p.Name}, {"e-mail", p.Email}} {
		switch m.mode {
		case "", Keep, Drop:
		case Hash:
			if p.Key == "" {
				errs = append(errs, fmt.Errorf("privacy mode hash for %s needs a key; set GUESTFLOW_PRIVACY_KEY", m.name))
			}
		default:
			errs = append(errs, fmt.Errorf("privacy mode %q for %s: use keep, hash or drop", m.mode, m.name))
		}
	}
	return errs
}

func (p *Privacy) apply(mode Mode, value string) string {
	switch {
	case value == "" || mode == Drop:
		return ""
	case mode == Hash:
		mac := hmac.New(sha256.New, []byte(p.Key))
		mac.Write([]byte(value))
		return hex.EncodeToString(mac.Sum(nil)[:pseudonymBytes])
	}
	return value
}

// Forms are those that a piece of personal data may have in events: as it is, and, with
// a key, its pseudonym.
func (p *Privacy) Forms(value string) []string {
	if p.Key == "" {
		return []string{value}
	}
	return []string{value, p.apply(Hash, value)}
}
