package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/consumers/occupancy"
	"github.com/guestflow/guestflow/consumers/webhook"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/alerts"
	"github.com/guestflow/guestflow/internal/story"
)

// raisedAlerts are those for the page.
func (a *app) raisedAlerts() []alerts.Event { return a.alerts.Status().Raised }

// endpointsKept is for how long an answer about the endpoints is given again: several pages
// ask at a time, and each question is some to NATS.
const endpointsKept = 2 * time.Second

// hooksShown tells the page of the webhooks.
type hooksShown struct {
	dispatcher *webhook.Dispatcher

	mu   sync.Mutex
	at   time.Time
	list []occupancy.Endpoint
}

// Endpoints is part of occupancy.Webhooks.
func (h *hooksShown) Endpoints(ctx context.Context) ([]occupancy.Endpoint, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.at) < endpointsKept {
		return h.list, nil
	}
	all, err := h.dispatcher.Status(ctx)
	if err != nil {
		return nil, err
	}
	h.list = make([]occupancy.Endpoint, len(all))
	for i, s := range all {
		h.list[i] = occupancy.Endpoint{
			Name: s.Name, Host: s.Host, Stream: s.Stream, State: string(s.State), Well: s.State.Well(),
			Waiting: waiting(s), OldestWaiting: s.OldestWaiting.UTC(), Delivered: s.Delivered, LastSuccess: s.LastSuccess.UTC(),
			Failures: s.Failures, LastFailure: s.LastFailure.UTC(), LastError: printable(s.LastError), DeadLetters: s.DeadLetters,
		}
		if s.Disabled != nil {
			h.list[i].LastError = printable(s.Disabled.Reason)
		}
	}
	h.at = time.Now()
	return h.list, nil
}

// DeadLetters is part of occupancy.Webhooks.
func (h *hooksShown) DeadLetters(ctx context.Context, endpoint string, most int) ([]occupancy.DeadLetter, error) {
	letters, err := h.dispatcher.DeadLetters(ctx, endpoint, most)
	if err != nil {
		return nil, unknownHook(err)
	}
	list := make([]occupancy.DeadLetter, len(letters))
	for i, l := range letters {
		list[i] = occupancy.DeadLetter{
			Sequence: l.Sequence, EventID: l.EventID, Kind: l.Kind, Location: l.Location,
			DiedAt: l.DiedAt.UTC(), Tries: l.Tries, Status: l.Status, Reason: printable(l.Reason),
		}
		if l.Stream == "sessions" {
			list[i].Session = l.Subject
		}
	}
	return list, nil
}

// Redeliver is part of occupancy.Webhooks.
func (h *hooksShown) Redeliver(ctx context.Context, endpoint string, sequence uint64) (delivered, failed int, err error) {
	all, err := h.Endpoints(ctx)
	if err != nil {
		return 0, 0, err
	}
	if !slices.ContainsFunc(all, func(e occupancy.Endpoint) bool { return e.Name == endpoint }) {
		return 0, 0, fmt.Errorf("%w: no endpoint %q is in the file", occupancy.ErrUnknown, endpoint)
	}
	report, err := h.dispatcher.Replay(ctx, webhook.ReplayRequest{Endpoint: endpoint, Sequence: sequence, All: sequence == 0})
	h.mu.Lock()
	h.at = time.Time{}
	h.mu.Unlock()
	return report.Delivered, report.Failed, unknownHook(err)
}

func unknownHook(err error) error {
	if errors.Is(err, webhook.ErrUnknownEndpoint) || errors.Is(err, webhook.ErrNoDeadLetter) {
		return fmt.Errorf("%w: %w", occupancy.ErrUnknown, err)
	}
	return err
}

// stories tells the page what guestflow explain prints.
type stories struct {
	stream, prefix string
	js             jetstream.JetStream
	hooks          *webhook.Dispatcher // nil where none are sent
}

// Story is part of occupancy.Stories.
func (s *stories) Story(ctx context.Context, account, session string, since time.Time, hide func(events.Event) (events.Event, bool)) ([]occupancy.Story, error) {
	subjects, err := events.NewSubjects(s.prefix)
	if err != nil {
		return nil, err
	}
	all, err := explain(ctx, s.stream, s.js, s.hooks, story.Query{Session: session, Account: account, From: since, Subjects: subjects})
	if err != nil && !errors.Is(err, story.ErrNothing) {
		return nil, err
	}
	var list []occupancy.Story
	for _, t := range all {
		told := occupancy.Story{Account: t.Account, SessionID: t.SessionID}
		for n := range t.Chapters {
			c := t.Chapters[n]
			var shown bool
			if c.Event, shown = hide(c.Event); !shown {
				continue
			}
			chapter := occupancy.Chapter{
				Sequence: c.Sequence, StoredAt: c.Stored, Revision: c.Event.Data.Revision, Kind: string(c.Event.Kind),
				Location: c.Event.Data.Session.LocationID, MissingBefore: c.Missing, Text: describe(c.Event), Known: howKnown(&c),
			}
			for _, w := range t.traces[n] {
				chapter.Webhooks = append(chapter.Webhooks, w.Endpoint+": "+fateInWords(w))
			}
			told.Events = append(told.Events, chapter)
		}
		if len(told.Events) > 0 {
			list = append(list, told)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: session %q: %w", occupancy.ErrUnknown, session, story.ErrNothing)
	}
	return list, nil
}
