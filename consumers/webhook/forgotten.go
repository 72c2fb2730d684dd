package webhook

import (
	"time"

	"github.com/guestflow/guestflow/events/forgotten"
)

// forgottenTopic is the stream of people who are to be forgotten. Its documents are sealed
// in the stream and among dead letters, and opened on the way out.
var forgottenTopic = &topic{
	name:  "forgotten",
	kinds: []string{forgottenKind},
	env:   forgottenFacts{},
	maker: "it is made by guestflow run",
	facts: func(of any, _ []string) any {
		e := of.(*forgotten.Event)
		f := forgottenFacts{ID: e.ID, Account: e.Account, Kind: forgottenKind, Time: e.Time}
		if p := e.Data.Person; p != nil {
			f.Person = personFacts{p.GuestIDs, p.Emails, p.DeviceMACs, p.SessionIDs, p.VisitIDs}
		}
		return f
	},
	outline: func(of any) notice {
		e := of.(*forgotten.Event)
		return notice{id: e.ID, account: e.Account, kind: forgottenKind, subject: e.ID, happened: e.Time, of: e}
	},
	decode: func(document []byte) (any, error) {
		e, err := forgotten.Decode(document)
		return &e, err
	},
	encode: func(of any) ([]byte, error) { return forgotten.Encode(*of.(*forgotten.Event)) },
	sample: func(_ string, at time.Time) any {
		at = at.UTC().Truncate(time.Second)
		return &forgotten.Event{ID: "test-" + at.Format("20060102150405"), Time: at, Account: "example", Data: forgotten.Data{Person: &forgotten.Person{
			GuestIDs: []string{"example-guest"}, Emails: []string{"guest@example.com"}, DeviceMACs: []string{"02:00:00:00:00:01"},
			SessionIDs: []string{"example-session"}, VisitIDs: []string{"example-visit"},
		}}}
	},
	mayVary: func(string, string) bool { return false },
}

// forgottenKind is the one kind of the topic.
const forgottenKind = "forgotten"

// forgottenFacts is what an expression sees of a person who is to be forgotten. A
// condition is asked before the person is opened, and finds nobody.
type forgottenFacts struct {
	ID      string      `expr:"id"`
	Account string      `expr:"account"`
	Kind    string      `expr:"kind"`
	Time    time.Time   `expr:"time"`
	Person  personFacts `expr:"person"`
}

type personFacts struct {
	GuestIDs   []string `expr:"guest_ids"`
	Emails     []string `expr:"emails"`
	DeviceMACs []string `expr:"device_macs"`
	SessionIDs []string `expr:"session_ids"`
	VisitIDs   []string `expr:"visit_ids"`
}

// opening has the sender open who is to be forgotten.
func (s *sender) opening(key string) *sender {
	s.key = key
	return s
}

// opened is the parcel with a person in clear, where it has a sealed one. The error is
// forgotten.ErrSealed.
func (p parcel) opened(key string) (parcel, error) {
	sealed, ok := p.of.of.(*forgotten.Event)
	if !ok || sealed.Data.Sealed == "" {
		return p, nil
	}
	e := *sealed
	if err := e.Open(key); err != nil {
		return p, err
	}
	document, err := forgotten.Encode(e)
	if err != nil {
		return p, err
	}
	p.of, p.document = forgottenTopic.about(&e), document
	return p, nil
}
