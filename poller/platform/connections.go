package platform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Connection is what the platform says of the live connection at an address.
type Connection struct {
	Address netip.Addr
	// Duration is how long it has lasted in whole seconds, as the platform has it. It
	// is UnknownDuration where the address has several answers that differ by more than
	// the second that may pass between them, or none that can be read.
	Duration int64
}

// UnknownDuration is that of a Connection of which nothing is known.
const UnknownDuration = -1

// Connections asks for the live connections behind up to MaxIPs addresses, as Guests
// does for who is behind them; but of who that is it reads nothing: the bytes of user
// names, names and e-mails are passed over where they stand, and forgotten. Addresses
// without an answer are missing, and answers that were not asked for are dropped. A 404
// to a question about one address means that it has none, and is no error; to one about
// several it is.
func (c *Client) Connections(ctx context.Context, addresses []netip.Addr) ([]Connection, Meta, error) {
	if len(addresses) == 0 || len(addresses) > MaxIPs {
		return nil, Meta{}, fmt.Errorf("connections: %d addresses: ask for 1 to %d", len(addresses), MaxIPs)
	}
	asked := make(map[string]int, len(addresses)) // index of the answer by the address's text
	answers := make([]Connection, 0, len(addresses))
	var path strings.Builder
	path.WriteString("/sessions/")
	for _, a := range addresses {
		a = a.Unmap().WithZone("")
		if !a.IsValid() {
			return nil, Meta{}, errors.New("connections: an address is not valid")
		}
		text := a.String()
		if _, again := asked[text]; again {
			continue
		}
		if len(answers) > 0 {
			path.WriteByte(',')
		}
		path.WriteString(text)
		asked[text] = len(answers)
		answers = append(answers, Connection{a, unanswered})
	}
	body, m, err := c.get(ctx, Guests, path.String(), nil)
	if err != nil {
		if m.Status == 404 && len(answers) == 1 {
			return nil, m, nil
		}
		return nil, m, err
	}
	if err := c.readConnections(body, m, asked, answers); err != nil {
		return nil, m, err
	}
	given := answers[:0]
	for _, a := range answers {
		if a.Duration != unanswered {
			given = append(given, a)
		}
	}
	return given, m, nil
}

// unanswered marks an address that no answer was read for, while they are read.
const unanswered = -2

// readConnections reads a body, and leaves nothing of it: it is full of people.
func (c *Client) readConnections(body []byte, m Meta, asked map[string]int, answers []Connection) error {
	defer clear(body)
	if err := decodeConnections(body, asked, answers); err != nil {
		return c.malformed(Guests, m, body, err)
	}
	return nil
}

// decodeConnections fills in the durations of the answers in a body, by address.
func decodeConnections(body []byte, asked map[string]int, answers []Connection) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	records := 0
	read := func() error {
		records++
		r, err := readConnection(d)
		if err == nil {
			r.answer(asked, answers, records == 1)
		}
		return err
	}
	if d.PeekKind() == '[' {
		if err := readArray(d, read); err != nil {
			return fmt.Errorf("not the array that is documented: %w", err)
		}
	} else if err := read(); err != nil {
		return fmt.Errorf("not the object that is documented: %w", err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("not the JSON that is documented: more follows behind it")
	}
	return nil
}

// readArray calls read at each object of an array.
func readArray(d *jsontext.Decoder, read func() error) error {
	if _, err := d.ReadToken(); err != nil {
		return cut(err)
	}
	for d.PeekKind() != ']' {
		if d.PeekKind() != '{' {
			if err := d.SkipValue(); err != nil {
				return cut(err)
			}
			continue
		}
		if err := read(); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return cut(err)
}

// answer puts a record beside the address that it is of. Records that contradict each
// other leave the duration unknown.
func (r *connectionRecord) answer(asked map[string]int, answers []Connection, first bool) {
	at, ok := r.of(asked)
	switch {
	case r.addressed && !ok:
		return
	case !r.addressed:
		// The address is documented for several alone.
		if at = 0; len(answers) != 1 || !r.lasting {
			return
		}
		if !first {
			answers[0].Duration = UnknownDuration
			return
		}
	}
	switch a := &answers[at]; {
	case a.Duration == unanswered:
		a.Duration = r.duration
	case a.Duration == UnknownDuration || r.duration == UnknownDuration || a.Duration-r.duration > 1 || r.duration-a.Duration > 1:
		a.Duration = UnknownDuration
	}
}

// connectionRecord is one answer, without the person in it.
type connectionRecord struct {
	text      [len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255%interface")]byte
	n         int   // of text
	addressed bool  // it has an address, readable or not
	duration  int64 // or UnknownDuration
	lasting   bool  // it has a duration
}

// readConnection reads one answer. What it does not need it does not decode.
func readConnection(d *jsontext.Decoder) (r connectionRecord, err error) {
	r.duration = UnknownDuration
	err = object(d, func(name []byte) error {
		switch string(name) {
		case `"ip_address"`:
			v, err := d.ReadValue()
			if err != nil {
				return err
			}
			if v.Kind() != 'n' {
				r.addressed = true
				r.n = 0
				if inner := bytes.Trim(v, `"`); v.Kind() == '"' && len(inner) <= len(r.text) {
					r.n = copy(r.text[:], bytes.TrimSpace(inner))
				}
			}
		case `"duration"`:
			v, err := d.ReadValue()
			if err != nil {
				return err
			}
			if v.Kind() == '0' || v.Kind() == '"' {
				r.lasting = true
				r.duration = secondsOf(bytes.Trim(v, `" `))
			}
		default:
			return d.SkipValue()
		}
		return nil
	})
	return r, err
}

// secondsOf reads a duration: digits as a rule.
func secondsOf(text []byte) int64 {
	n := int64(0)
	for _, c := range text {
		if c < '0' || c > '9' || n >= 1<<40 {
			f, err := strconv.ParseFloat(string(text[:min(len(text), 32)]), 64)
			if err != nil || !(f >= 0 && f < 1<<40) {
				return UnknownDuration
			}
			return int64(f)
		}
		n = n*10 + int64(c-'0')
	}
	if len(text) == 0 {
		return UnknownDuration
	}
	return n
}

// of finds the address among those that were asked for.
func (r *connectionRecord) of(asked map[string]int) (int, bool) {
	text := r.text[:r.n]
	if at, ok := asked[string(text)]; ok {
		return at, true
	}
	// Perhaps it is written another way.
	var a netip.Addr
	if a.UnmarshalText(text) != nil || !a.IsValid() {
		return 0, false
	}
	at, ok := asked[a.Unmap().WithZone("").String()]
	return at, ok
}
