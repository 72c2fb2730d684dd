package webhook

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

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
