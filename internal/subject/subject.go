// Package subject finds what guestflow's streams hold of one person: session events,
// visits, and what webhooks did not take. It reads, and changes nothing.
//
// A person is asked for by guest id, e-mail address or MAC address. An event that names
// one leads to all of its session, and one that names the e-mail address to the guest id
// beside it. Nothing else leads on, so that nobody gets what is another's: a device may be
// lent, and a session may pass from one guest to another.
package subject

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/events/visits"
)

// Query says who is asked for; at least one list has a value. Each value of a list is
// another form of the same, such as a pseudonym.
type Query struct {
	Guests, Emails, MACs []string
	Account              string // empty for any
	Places               []Place
}

// Place is a stream to look through.
type Place struct {
	Stream  string
	Subject string // filter
	Holds   Holds
}

// Holds says what the messages of a stream are.
type Holds string

const (
	Events  Holds = "session events"
	Letters Holds = "dead letters of webhooks"
	Skips   Holds = "events that webhooks skipped"
	Visits  Holds = "visits"
)

// Found is what there is of a person.
type Found struct {
	// Known is what the messages say of the person, each once, in the order of being
	// found.
	Known Known `json:"known"`
	// Guests are the person's guest ids: those asked for, as far as found, and those beside
	// the e-mail address.
	Guests []ID `json:"guests"`
	// Sessions are the person's, by account.
	Sessions []ID    `json:"sessions"`
	Places   []Count `json:"found"`
	Messages []Trace `json:"messages"`
}

// Known are the values of a person.
type Known struct {
	GuestIDs   []string `json:"guest_ids,omitempty"`
	Usernames  []string `json:"usernames,omitempty"`
	Names      []string `json:"names,omitempty"`
	Emails     []string `json:"emails,omitempty"`
	DeviceMACs []string `json:"device_macs,omitempty"`
	DeviceIPs  []string `json:"device_ips,omitempty"`
}

// ID is an id of the platform, which is unique within its account.
type ID struct {
	Account string `json:"account"`
	ID      string `json:"id"`
}

// Count says how much was found where.
type Count struct {
	Stream   string `json:"stream"`
	Holds    Holds  `json:"holds"`
	Messages int    `json:"messages"`
	// Absent: there is no such stream.
	Absent bool `json:"absent,omitempty"`
}

// Trace is one message that holds something of the person.
type Trace struct {
	Stream   string          `json:"stream"`
	Sequence uint64          `json:"sequence"`
	Subject  string          `json:"subject"`
	Message  json.RawMessage `json:"message"`
}

// Find looks through all places, as often as something new is found.
func Find(ctx context.Context, js jetstream.JetStream, q Query) (*Found, error) {
	if len(q.Guests)+len(q.Emails)+len(q.MACs) == 0 {
		return nil, errors.New("subject: nobody is asked for")
	}
	s := search{q: q, sessions: map[ID]bool{}, visits: map[ID]bool{}, guests: map[ID]bool{}}
	for {
		before := len(s.sessions) + len(s.visits) + len(s.guests)
		s.found = Found{Messages: []Trace{}}
		for _, p := range q.Places {
			if err := s.place(ctx, js, p); err != nil {
				return nil, err
			}
		}
		if len(s.sessions)+len(s.visits)+len(s.guests) == before {
			break
		}
	}
	s.found.Guests, s.found.Sessions = sorted(s.guests), sorted(s.sessions)
	return &s.found, nil
}

func sorted(ids map[ID]bool) []ID {
	return slices.SortedFunc(maps.Keys(ids), func(a, b ID) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.ID, b.ID))
	})
}

type search struct {
	q Query
	// sessions, visits and guests are the person's.
	sessions, visits, guests map[ID]bool
	found                    Found // of the present round
}

func (s *search) place(ctx context.Context, js jetstream.JetStream, p Place) error {
	count := Count{Stream: p.Stream, Holds: p.Holds}
	stream, err := js.Stream(ctx, p.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		count.Absent = true
		s.found.Places = append(s.found.Places, count)
		return nil
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", p.Stream, err)
	}
	err = consume.Past(ctx, stream, consume.FromStart(), []string{p.Subject}, func(m jetstream.Msg, meta *jetstream.MsgMetadata) (bool, error) {
		if s.holds(p.Holds, m.Data()) {
			count.Messages++
			s.found.Messages = append(s.found.Messages, Trace{p.Stream, meta.Sequence.Stream, m.Subject(), slices.Clone(m.Data())})
		}
		return true, nil
	})
	s.found.Places = append(s.found.Places, count)
	return err
}

// holds reports whether a message is of the person, and notes what it leads to.
func (s *search) holds(what Holds, body []byte) bool {
	switch what {
	case Visits:
		e, err := visits.Decode(body)
		return err == nil && s.visit(&e)
	case Skips:
		var skip struct {
			Account string `json:"account"`
			Stream  string `json:"stream"`
			Subject string `json:"subject"`
			Session string `json:"session_id"` // what former versions wrote
		}
		if json.Unmarshal(body, &skip) != nil {
			return false
		}
		of := s.sessions
		if skip.Stream == "visits" {
			of = s.visits
		}
		return of[ID{skip.Account, cmp.Or(skip.Subject, skip.Session)}]
	}
	if e, err := events.Decode(body); err == nil {
		return s.event(&e)
	}
	e, err := visits.Decode(body) // a letter may hold one
	return what == Letters && err == nil && s.visit(&e)
}

func (s *search) event(e *events.Event) bool {
	v := &e.Data.Session
	session := ID{e.Account, v.ID}
	guests, devices := []string{v.GuestID}, []string{v.DeviceMAC}
	addresses := []string{v.DeviceIP}
	if p := e.Data.Previous; p != nil {
		guests, devices, addresses = before(guests, p.GuestID), before(devices, p.DeviceMAC), before(addresses, p.DeviceIP)
	}
	mailed, named := s.mails(e.Account, v.GuestID, e.Data.Guest), s.is(e.Account, guests, devices)
	if !mailed && !named && !s.sessions[session] {
		return false
	}
	s.sessions[session] = true
	s.known(guests, devices, addresses, e.Data.Guest)
	return true
}

func (s *search) visit(e *visits.Event) bool {
	v := &e.Data.Visit
	guests, devices := []string{v.GuestID}, []string{v.DeviceMAC}
	named := s.mails(e.Account, v.GuestID, e.Data.Guest)
	if !named && !s.is(e.Account, guests, devices) {
		return false
	}
	s.visits[ID{e.Account, v.ID}] = true
	s.known(guests, devices, nil, e.Data.Guest)
	return true
}

// before adds the value that an event replaced.
func before(values []string, was *string) []string {
	if was != nil {
		values = append(values, *was)
	}
	return values
}

// is reports whether ids are the person's by themselves.
func (s *search) is(account string, guests, devices []string) bool {
	if s.q.Account != "" && s.q.Account != account {
		return false
	}
	found := false
	for _, g := range guests {
		if g != "" && (slices.Contains(s.q.Guests, g) || s.guests[ID{account, g}]) {
			s.guests[ID{account, g}] = true
			found = true
		}
	}
	return found || slices.ContainsFunc(devices, func(d string) bool { return d != "" && slices.Contains(s.q.MACs, d) })
}

// mails reports whether the guest has an e-mail address that was asked for; then the
// guest id beside it is the person's.
func (s *search) mails(account, id string, guest *events.Guest) bool {
	if guest == nil || s.q.Account != "" && s.q.Account != account {
		return false
	}
	named := slices.ContainsFunc(s.q.Emails, func(email string) bool { return strings.EqualFold(email, guest.Email) })
	if named && id != "" {
		s.guests[ID{account, id}] = true
	}
	return named
}

// known notes what a message of the person says.
func (s *search) known(guests, devices, addresses []string, guest *events.Guest) {
	k := &s.found.Known
	note(&k.GuestIDs, guests...)
	note(&k.DeviceMACs, devices...)
	note(&k.DeviceIPs, addresses...)
	if guest != nil {
		note(&k.Usernames, guest.Username)
		note(&k.Names, guest.Name)
		note(&k.Emails, guest.Email)
	}
}

func note(list *[]string, values ...string) {
	for _, v := range values {
		if v != "" && !slices.Contains(*list, v) {
			*list = append(*list, v)
		}
	}
}
