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
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"time"

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
	// Widen takes in what names no guest at all but a device that nobody but the person
	// was seen with: not for handing out, since the device may have been lent, but for
	// erasing.
	Widen bool
	// After is up to where streams were read before; nothing is from the start.
	After map[string]uint64
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
	Visits   []ID    `json:"visits,omitempty"`
	Places   []Count `json:"found"`
	Messages []Trace `json:"messages"`
	// Own are the devices by which Widen took in more.
	Own     []string             `json:"-"`
	created map[string]time.Time // of the streams
	// Read is up to where each stream was read.
	Read map[string]uint64 `json:"-"`
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

// Find looks through all places.
//
// Each stream is read once, and of each message no more is kept than digests of the ids in
// it: what leads to the person is found among these, and only that is read again and
// decoded, as often as something new is found.
func Find(ctx context.Context, js jetstream.JetStream, q Query) (*Found, error) {
	if len(q.Guests)+len(q.Emails)+len(q.MACs) == 0 {
		return nil, errors.New("subject: nobody is asked for")
	}
	s := search{q: q, digest: digest{seed: maphash.MakeSeed(), accounts: map[string]bool{}}, messages: map[at]Trace{}, streams: map[string]jetstream.Stream{}}
	s.sessions, s.visits, s.guests = map[ID]bool{}, map[ID]bool{}, map[ID]bool{}
	s.found.Read, s.found.created = map[string]uint64{}, map[string]time.Time{}
	for i := range q.Places {
		if err := s.scan(ctx, js, i); err != nil {
			return nil, err
		}
	}
	if err := s.gather(ctx); err != nil {
		return nil, err
	}
	if q.Widen {
		s.found.Own = s.own()
		s.q.MACs = append(slices.Clone(q.MACs), s.found.Own...)
		if err := s.gather(ctx); err != nil {
			return nil, err
		}
	}
	s.found.Guests, s.found.Sessions, s.found.Visits = sorted(s.guests), sorted(s.sessions), sorted(s.visits)
	return &s.found, nil
}

// own are the devices of the person that no other guest was seen with.
func (s *search) own() (own []string) {
	guests := s.guestDigests()
	for _, mac := range s.found.Known.DeviceMACs {
		d := s.digest.of("device", nil, []byte(mac))
		if !slices.ContainsFunc(s.rows, func(r row) bool { return r.device == d && r.guest != 0 && !guests[r.guest] }) {
			own = append(own, mac)
		}
	}
	return own
}

func sorted(ids map[ID]bool) []ID {
	all := append([]ID{}, slices.Collect(maps.Keys(ids))...) // in JSON a list, also where it is empty
	slices.SortFunc(all, func(a, b ID) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.ID, b.ID))
	})
	return all
}

type search struct {
	q      Query
	digest digest
	rows   []row
	// mailed are the rows that have an e-mail address which is asked for.
	mailed   map[int]bool
	messages map[at]Trace // that were read again
	streams  map[string]jetstream.Stream
	// sessions, visits and guests are the person's.
	sessions, visits, guests map[ID]bool
	found                    Found
}

// gather reads again what the rows lead to, until nothing new is found.
func (s *search) gather(ctx context.Context) error {
	for {
		before := len(s.sessions) + len(s.visits) + len(s.guests)
		of := s.follow()
		for _, a := range of {
			if err := s.fetch(ctx, a); err != nil {
				return err
			}
		}
		s.sift(of)
		if len(s.sessions)+len(s.visits)+len(s.guests) == before {
			return nil
		}
	}
}

// fetch reads one message; one that has gone meanwhile is none.
func (s *search) fetch(ctx context.Context, a at) error {
	if _, known := s.messages[a]; known {
		return nil
	}
	p := s.q.Places[a.place]
	m, err := message(ctx, s.streams[p.Stream], a.sequence)
	if err != nil {
		return fmt.Errorf("stream %s, message %d: %w", p.Stream, a.sequence, err)
	}
	if s.messages[a] = (Trace{}); m != nil {
		s.messages[a] = Trace{p.Stream, a.sequence, m.Subject, m.Data}
	}
	return nil
}

// message reads one, nil if there is none. Any server of a cluster may answer, also one that
// does not have it yet: that there is none is for the stream's leader to say.
func message(ctx context.Context, stream jetstream.Stream, sequence uint64) (*jetstream.RawStreamMsg, error) {
	for range mostTries {
		m, err := stream.GetMsg(ctx, sequence)
		if err == nil || !errors.Is(err, jetstream.ErrMsgNotFound) {
			return m, err
		}
		info, err := stream.Info(ctx, jetstream.WithDeletedDetails(true))
		if err != nil {
			return nil, err
		}
		if state := info.State; sequence < state.FirstSeq || sequence > state.LastSeq || slices.Contains(state.Deleted, sequence) {
			return nil, nil
		}
	}
	return nil, consume.ErrLagging
}

// sift looks at messages closely, as often as one leads to another, and notes those of
// the person.
func (s *search) sift(of []at) {
	for {
		before := len(s.sessions) + len(s.visits) + len(s.guests)
		s.found.Known, s.found.Messages = Known{}, []Trace{}
		for i := range s.found.Places {
			s.found.Places[i].Messages = 0
		}
		for _, a := range of {
			m := s.messages[a]
			if m.Sequence != 0 && s.holds(s.q.Places[a.place].Holds, m.Message) {
				s.found.Places[a.place].Messages++
				s.found.Messages = append(s.found.Messages, m)
			}
		}
		if len(s.sessions)+len(s.visits)+len(s.guests) == before {
			return
		}
	}
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
	// One that tells nobody's any more is how the stream knows the session.
	if !mailed && !named && (!s.sessions[session] || v.DeviceDescription == events.Forgotten) {
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
