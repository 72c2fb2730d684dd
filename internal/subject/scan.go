package subject

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"net/url"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events/consume"
)

// at is a message of a place.
type at struct {
	place    int
	sequence uint64
}

// row is what is kept of a message: digests of the ids in it, 0 where it has none. One
// that tells of former values has a second row for these.
type row struct {
	at
	subject, guest, device uint64
	// unclear: the message has to be looked at closely in any case.
	unclear bool
}

// digest makes short digests of ids. Two ids may share one, so that what they lead to is
// looked at closely.
type digest struct {
	seed     maphash.Seed
	accounts map[string]bool // as sources have them
}

func (d *digest) of(kind string, account, id []byte) uint64 {
	if len(id) == 0 {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(d.seed)
	_, _ = h.WriteString(kind) // it never fails
	for _, field := range [...][]byte{account, id} {
		_ = h.WriteByte(0)
		_, _ = h.Write(field)
	}
	return max(1, h.Sum64())
}

// scan reads a place once.
func (s *search) scan(ctx context.Context, js jetstream.JetStream, place int) error {
	p := s.q.Places[place]
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
	s.found.Places = append(s.found.Places, count)
	s.streams[p.Stream], s.found.created[p.Stream] = stream, stream.CachedInfo().Created
	last := stream.CachedInfo().State.LastSeq
	for try := 1; ; try++ {
		before := s.found.Read[p.Stream]
		err := s.read(ctx, js, stream, place, last)
		switch {
		case err == nil:
			return nil
		case s.found.Read[p.Stream] > before:
			try = 0
		case try == mostTries || ctx.Err() != nil:
			return fmt.Errorf("reading stream %s after sequence %d: %w", p.Stream, before, err)
		}
	}
}

// mostTries bounds how often reading a stream fails at the same place.
const mostTries = 3

// read reads a place on, up to a sequence.
func (s *search) read(ctx context.Context, js jetstream.JetStream, stream jetstream.Stream, place int, last uint64) error {
	p := s.q.Places[place]
	subjects := []string{p.Subject}
	if slices.Equal(stream.CachedInfo().Config.Subjects, subjects) {
		subjects = nil // the server need not compare them
	}
	r, err := consume.Open(ctx, js.Conn(), stream, consume.FromSequence(max(s.found.Read[p.Stream], s.q.After[p.Stream])+1), subjects...)
	if err != nil {
		return err
	}
	defer r.Close()
	for left := r.Pending; left > 0; {
		m, meta, err := r.Next()
		if err != nil {
			return err
		}
		if meta.Sequence.Stream > last {
			return nil
		}
		s.note(at{place, meta.Sequence.Stream}, p.Holds, m.Data())
		s.found.Read[p.Stream], left = meta.Sequence.Stream, meta.NumPending
	}
	return consume.Complete(ctx, stream, subjects, max(s.found.Read[p.Stream], s.q.After[p.Stream]), last)
}

// note keeps the rows of a message.
func (s *search) note(a at, holds Holds, body []byte) {
	r := row{at: a}
	if holds == Skips {
		var skip struct{ Account, Subject string }
		r.unclear = json.Unmarshal(body, &skip) != nil || skip.Subject == ""
		r.subject = s.digest.of("subject", []byte(url.PathEscape(skip.Account)), []byte(skip.Subject))
		s.rows = append(s.rows, r)
		return
	}
	account, rest, clear := value(body, source)
	id, rest, clearID := value(rest, subject)
	if len(account) == 0 || len(id) == 0 { // not in the order in which guestflow writes them
		account, _, clear = value(body, source)
		id, _, clearID = value(body, subject)
		rest = body
	}
	r.unclear = !clear || !clearID || len(id) == 0
	s.account(account)
	r.subject = s.digest.of("subject", account, id)
	now, was, replaced := bytes.Cut(rest, previous)
	s.people(&r, account, now)
	s.rows = append(s.rows, r)
	if len(s.q.Emails) > 0 && s.contains(now) {
		if s.mailed == nil {
			s.mailed = map[int]bool{}
		}
		s.mailed[len(s.rows)-1] = true
	}
	if replaced {
		r.guest, r.device = 0, 0
		s.people(&r, account, was)
		s.rows = append(s.rows, r)
	}
}

// people notes whom a part of a message names.
func (s *search) people(r *row, account, part []byte) {
	guest, _, clearGuest := value(part, guestID)
	device, _, clearDevice := value(part, deviceMAC)
	r.guest, r.device = s.digest.of("guest", account, guest), s.digest.of("device", nil, device)
	r.unclear = r.unclear || !clearGuest || !clearDevice
}

// contains reports whether a part of a message has an e-mail address that is asked for.
func (s *search) contains(part []byte) bool {
	address, _, clear := value(part, email)
	return !clear || slices.ContainsFunc(s.q.Emails, func(e string) bool { return strings.EqualFold(e, string(address)) })
}

func (s *search) account(of []byte) {
	if !s.digest.accounts[string(of)] { // without making a text of it each time
		s.digest.accounts[string(of)] = true
	}
}

// Members that messages are searched for.
var (
	source    = []byte(`"source":"guestflow/`)
	subject   = []byte(`"subject":"`)
	guestID   = []byte(`"guest_id":"`)
	deviceMAC = []byte(`"device_mac":"`)
	email     = []byte(`"email":"`)
	previous  = []byte(`"previous":{`)
)

// value returns the text of a member as it is written, empty where there is none, and what
// comes behind it; clear is false for one with escapes.
func value(body, member []byte) (text, rest []byte, clear bool) {
	i := bytes.Index(body, member)
	if i < 0 {
		return nil, body, true
	}
	rest = body[i+len(member):]
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		return nil, body, false
	}
	return rest[:end], rest[end:], bytes.IndexByte(rest[:end], '\\') < 0
}

// guestDigests are those of the person's guest ids, in all accounts that were seen.
func (s *search) guestDigests() map[uint64]bool {
	all := map[uint64]bool{}
	for account := range s.digest.accounts {
		for _, g := range s.q.Guests {
			all[s.digest.of("guest", []byte(account), []byte(g))] = true
		}
		for g := range s.guests {
			all[s.digest.of("guest", []byte(account), []byte(g.ID))] = true
		}
	}
	return all
}

// follow returns the messages that lead to the person, in order, as far as digests tell.
func (s *search) follow() []at {
	guests, devices, subjects := s.guestDigests(), map[uint64]bool{}, map[uint64]bool{}
	for _, mac := range s.q.MACs {
		devices[s.digest.of("device", nil, []byte(mac))] = true
	}
	for grown := true; grown; {
		grown = false
		for i := range s.rows {
			r := &s.rows[i]
			mailed := s.mailed[i]
			if mailed && r.guest != 0 && !guests[r.guest] {
				guests[r.guest], grown = true, true
			}
			if (mailed || guests[r.guest] || devices[r.device]) && !subjects[r.subject] {
				subjects[r.subject], grown = true, true
			}
		}
	}
	var of []at
	for i := range s.rows {
		r := &s.rows[i]
		if (r.unclear || subjects[r.subject]) && (len(of) == 0 || of[len(of)-1] != r.at) {
			of = append(of, r.at)
		}
	}
	return of
}
