package webhook

import (
	"fmt"
	"slices"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/forgotten"
	"github.com/guestflow/guestflow/events/visits"
	"github.com/guestflow/guestflow/internal/handwritten"
)

// topic is a stream that an endpoint can subscribe to: what the dispatcher must know of
// its events. All topics are served by the same code.
type topic struct {
	name  string   // as the field stream has it
	kinds []string // sample is tried in this order: what endpoints are most often for comes first
	// env is what expressions are compiled against, facts what they see of an event, which
	// happened in these groups.
	env   any
	facts func(of any, groups []string) any
	// outline tells what an event is about, its topic aside; of is a pointer to one.
	outline func(of any) notice
	decode  func(document []byte) (of any, err error)
	encode  func(of any) ([]byte, error) // with the id that belongs to the content
	sample  func(kind string, at time.Time) (of any)
	// cleanse takes out of an event whom the list has, and encodes it where that changes it;
	// nil where events name nobody.
	cleanse func(list *forgotten.List, of any) (document []byte, changed bool, err error)
	// mayVary reports whether events of a kind differ in the field of a path.
	mayVary func(kind, path string) bool
	// maker says who fills the stream.
	maker string
}

// notice is an event of any topic, as far as the dispatcher needs to know it.
type notice struct {
	topic             *topic
	id, account, kind string
	// subject is the session, the visit or the alert: what an ordered endpoint keeps in order.
	subject string
	// location is where it was last, places all that an endpoint's globs may match.
	location string
	places   []string
	// happened is the earliest time at which it can have happened.
	happened   time.Time
	backfilled bool
	of         any // pointer to the event
}

var topics = []*topic{sessionTopic, visitTopic, alertTopic, forgottenTopic}

// topicNamed finds a topic; empty means that of sessions.
func topicNamed(name string) (*topic, error) {
	if name == "" {
		return sessionTopic, nil
	}
	var names []string
	for _, t := range topics {
		if t.name == name {
			return t, nil
		}
		names = append(names, t.name)
	}
	return nil, fmt.Errorf("unknown stream %q%s", name, handwritten.DidYouMean(name, names))
}

// about tells what an event of the topic is about; of is a pointer to one.
func (t *topic) about(of any) notice {
	n := t.outline(of)
	n.topic = t
	return n
}

// read decodes a document of the topic.
func (t *topic) read(document []byte) (notice, error) {
	of, err := t.decode(document)
	if err != nil {
		return notice{topic: t}, err
	}
	return t.about(of), nil
}

// readAny decodes a document of any topic; the error is that of the first.
func readAny(document []byte) (n notice, err error) {
	for i, t := range topics {
		of, failed := t.decode(document)
		if failed == nil {
			return t.about(of), nil
		}
		if i == 0 {
			err = failed
		}
	}
	return n, err
}

var sessionTopic = &topic{
	name:  "sessions",
	kinds: textsOf(events.Started, events.Resumed, events.Ended, events.Traffic, events.Updated, events.Discovered),
	env:   facts{},
	maker: "start guestflow run",
	facts: func(of any, groups []string) any { return factsOf(of.(*events.Event), groups) },
	outline: func(of any) notice {
		e := of.(*events.Event)
		s, o := &e.Data.Session, &e.Data.Observed
		return notice{
			id: e.ID, account: e.Account, kind: string(e.Kind), subject: s.ID, location: s.LocationID,
			places: []string{s.LocationID}, happened: happened(e.Time, o.At, o.NotYetAt), backfilled: o.Backfilled, of: e,
		}
	},
	decode: func(document []byte) (any, error) {
		e, err := events.Decode(document)
		return &e, err
	},
	encode: func(of any) ([]byte, error) {
		e := of.(*events.Event)
		*e = e.Sealed()
		return events.Encode(*e)
	},
	sample: func(kind string, at time.Time) any {
		e := SampleEvent(events.Kind(kind), at)
		return &e
	},
	cleanse: cleanseSession,
	mayVary: sessionMayVary,
}

var visitTopic = &topic{
	name:  "visits",
	kinds: textsOf(visits.Kinds()...),
	env:   visitFacts{},
	maker: "set GUESTFLOW_VISITS=true for guestflow run, or start guestflow visits run",
	facts: func(of any, groups []string) any { return visitFactsOf(of.(*visits.Event), groups) },
	outline: func(of any) notice {
		e := of.(*visits.Event)
		v, o := &e.Data.Visit, &e.Data.Observed
		return notice{
			id: e.ID, account: e.Account, kind: string(e.Kind), subject: v.ID, location: v.LocationID,
			places: append([]string{v.Place}, v.Locations...), happened: happened(e.Time, o.At, o.NotYetAt),
			backfilled: v.Arrival == visits.Backfilled, of: e,
		}
	},
	decode: func(document []byte) (any, error) {
		e, err := visits.Decode(document)
		return &e, err
	},
	encode: func(of any) ([]byte, error) {
		e := of.(*visits.Event)
		*e = e.Sealed()
		return visits.Encode(*e)
	},
	sample: func(kind string, at time.Time) any {
		e := SampleVisit(visits.Kind(kind), at)
		return &e
	},
	cleanse: cleanseVisit,
	mayVary: func(kind, path string) bool {
		switch path {
		case "visit.ended_at", "observed.end":
			return kind == string(visits.Ended) || kind == string(visits.Lapsed)
		case "threshold_seconds":
			return kind == string(visits.Stayed) || kind == string(visits.Lapsed)
		}
		return true
	},
}

// happened is the earliest time at which an event can have happened. That of a change of
// which only the sight is known may be as long ago as the last look that did not show it:
// after an outage, that is all of the outage.
func happened(at, seen, notYet time.Time) time.Time {
	if at.Equal(seen) && !notYet.IsZero() {
		return notYet
	}
	return at
}

func textsOf[K ~string](kinds ...K) (texts []string) {
	for _, k := range kinds {
		texts = append(texts, string(k))
	}
	return texts
}

// kindsOf checks the kinds that an entry asks for.
func (t *topic) kindsOf(texts []string) (kinds []string, problems []error) {
	for _, k := range texts {
		switch {
		case slices.Contains(t.kinds, k):
		case otherTopic(t, k) != nil:
			other := otherTopic(t, k)
			problems = append(problems, fmt.Errorf("%q is a kind of the stream %s; add stream: %s", k, other.name, other.name))
		default:
			problems = append(problems, fmt.Errorf("unknown kind %q; known are %v", k, t.known()))
		}
		kinds = append(kinds, k)
	}
	return kinds, problems
}

// known are the kinds in the order of an event's life.
func (t *topic) known() []string {
	if t == sessionTopic {
		return textsOf(events.Kinds()...)
	}
	return t.kinds
}

// Kinds are those of all streams that an endpoint can subscribe to.
func Kinds() (kinds []string) {
	for _, t := range topics {
		for _, k := range t.known() {
			if !slices.Contains(kinds, k) {
				kinds = append(kinds, k)
			}
		}
	}
	return kinds
}

// otherTopic is one that knows the kind; nil where none does.
func otherTopic(than *topic, kind string) *topic {
	for _, t := range topics {
		if t != than && slices.Contains(t.kinds, kind) {
			return t
		}
	}
	return nil
}
