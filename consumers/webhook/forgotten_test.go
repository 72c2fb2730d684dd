package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/forgotten"
)

const forgetKey = "0123456789abcdef"

// TestWhoIsToBeForgottenIsToldInClearAndKeptSealed: receivers learn whom to forget, signed;
// stream and dead letters never name them; and a letter is opened when it is replayed.
func TestWhoIsToBeForgottenIsToldInClearAndKeptSealed(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	if _, err := b.js.CreateStream(b.ctx, jetstream.StreamConfig{Name: forgotten.DefaultStream, Subjects: []string{forgotten.DefaultPrefix + ".*"}}); err != nil {
		t.Fatal(err)
	}
	var refusing atomic.Bool
	refusing.Store(true)
	crm := newReceiver(t, accept)
	away := newReceiver(t, func(w http.ResponseWriter, r received) {
		if refusing.Load() {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		accept(w, r)
	})
	tr := newTrial(t, b, endpointYAML("crm", crm.URL, "stream: forgotten"), endpointYAML("away", away.URL, "stream: forgotten", `body: '{"erase": person.guest_ids}'`))
	tr.Key = forgetKey
	tr.start(b)
	sealed, err := forgotten.Seal(forgetKey, forgotten.Person{GuestIDs: []string{"ann"}, SessionIDs: []string{"s1"}})
	if err != nil {
		t.Fatal(err)
	}
	body, err := forgotten.Encode(forgotten.Event{ID: "r1", Time: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), Data: forgotten.Data{Sealed: sealed}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.js.Publish(b.ctx, forgotten.GuestSubject, body); err != nil {
		t.Fatal(err)
	}
	if _, err := b.js.Publish(b.ctx, forgotten.ListSubject, []byte("{}")); err != nil { // nobody's business
		t.Fatal(err)
	}
	untilTaken(t, crm, 1)
	got := crm.taken()[0]
	e, err := forgotten.Decode(got.body)
	if err != nil || e.ID != "r1" || got.id != "r1" || e.Data.Person == nil || !slices.Equal(e.Data.Person.GuestIDs, []string{"ann"}) {
		t.Errorf("the receiver got %s, %v", got.body, err)
	}
	var letters []DeadLetter
	tr.eventually("a dead letter", func() bool {
		letters, err = tr.DeadLetters(b.ctx, "away", 0)
		return err == nil && len(letters) == 1
	})
	if text := string(letters[0].Event); strings.Contains(text, "ann") || letters[0].Stream != "forgotten" {
		t.Errorf("the letter is %+v", letters[0])
	}
	refusing.Store(false)
	if _, err := tr.Replay(b.ctx, ReplayRequest{Endpoint: "away", All: true}); err != nil {
		t.Fatal(err)
	}
	untilTaken(t, away, 1)
	var erase struct{ Erase []string }
	if err := json.Unmarshal(away.taken()[0].body, &erase); err != nil || !slices.Equal(erase.Erase, []string{"ann"}) {
		t.Errorf("the replay got %s, %v", away.taken()[0].body, err)
	}
}

// TestWhoIsForgottenMeanwhileIsNamedNoMore: by events that are in hand when their messages are
// deleted, whether they are sent, tried again or die.
func TestWhoIsForgottenMeanwhileIsNamedNoMore(t *testing.T) {
	t.Parallel()
	const guest = "guest-to-forget"
	b := newBroker(t)
	answers := make(chan int)
	r := newReceiver(t, func(w http.ResponseWriter, r received) {
		select {
		case status := <-answers:
			w.WriteHeader(status)
		case <-r.gone:
		}
	})
	tr := newTrial(t, b, endpointYAML("a", r.URL, "concurrency: 1", "timeout: 30s"))
	tr.RefusedTries, tr.Forgotten = 2, forgotten.NewList(forgetKey)
	tr.start(b)
	for _, session := range []string{"s1", "s2"} {
		e := sample(events.Started, session, 1)
		e.Data.Session.GuestID, e.Data.Session.DeviceMAC = guest, "02:00:00:00:00:01"
		b.publish(e.Sealed())
	}
	r.untilRequests(t, 1)
	tr.Forgotten.Add([]string{forgotten.KeyMark(forgetKey), forgotten.Mark(forgetKey, forgotten.GuestID, "", guest)})
	for range 4 {
		answers <- http.StatusBadRequest
	}
	tr.untilSeen("a", Dead, 2)
	for i, got := range r.asked() {
		if named := bytes.Contains(got.body, []byte(guest)); named != (i == 0) {
			t.Errorf("request %d names the guest: %v", i+1, named)
		}
	}
	letters, err := tr.DeadLetters(t.Context(), "a", 0)
	if err != nil || len(letters) != 2 {
		t.Fatalf("%d dead letters, %v", len(letters), err)
	}
	for _, l := range letters {
		if bytes.Contains(l.Event, []byte(guest)) || !bytes.Contains(l.Event, []byte(`"subject":"`+l.Subject+`"`)) {
			t.Errorf("a dead letter is %s", l.Event)
		}
	}
}

// TestWhoIsForgottenDuringAReplayIsNamedNoMore, by tries that follow nor by the dead letter.
func TestWhoIsForgottenDuringAReplayIsNamedNoMore(t *testing.T) {
	t.Parallel()
	const guest = "guest-to-forget"
	b := newBroker(t)
	answers := make(chan int)
	r := newReceiver(t, func(w http.ResponseWriter, r received) {
		select {
		case status := <-answers:
			w.WriteHeader(status)
		case <-r.gone:
		}
	})
	tr := newTrial(t, b, endpointYAML("a", r.URL, "timeout: 30s"))
	tr.Forgotten = forgotten.NewList(forgetKey)
	e := sample(events.Started, "s1", 1)
	e.Data.Session.GuestID = guest
	b.publish(e.Sealed())
	done := make(chan error, 1)
	go func() {
		report, err := tr.Replay(b.ctx, ReplayRequest{Endpoint: "a", Since: time.Now().Add(-time.Hour)})
		if err == nil && report.Failed != 1 {
			err = fmt.Errorf("report %+v", report)
		}
		done <- err
	}()
	r.untilRequests(t, 1)
	tr.Forgotten.Add([]string{forgotten.KeyMark(forgetKey), forgotten.Mark(forgetKey, forgotten.GuestID, "", guest)})
	for range replayTries {
		answers <- http.StatusInternalServerError
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for i, got := range r.asked() {
		if named := bytes.Contains(got.body, []byte(guest)); named != (i == 0) {
			t.Errorf("request %d names the guest: %v", i+1, named)
		}
	}
	letters, err := tr.DeadLetters(b.ctx, "a", 0)
	if err != nil || len(letters) != 1 || bytes.Contains(letters[0].Event, []byte(guest)) {
		t.Errorf("dead letters %+v, %v", letters, err)
	}
}
