package webhook

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestStatusTellsOfADeadReceiver: to a process other than the one that serves, too.
func TestStatusTellsOfADeadReceiver(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	r := newReceiver(t, accept)
	tr := newTrial(t, b, endpointYAML("a", r.URL))
	other := &trial{Dispatcher: &Dispatcher{JetStream: b.js, Path: tr.Path}, t: t}
	if s := other.statusOf(b.ctx, "a"); s.State != NotServed {
		t.Errorf("before anything runs: %+v", s)
	}
	tr.start(b)
	tr.eventually("idle", func() bool { return other.statusOf(b.ctx, "a").State == Idle })
	evs := starts(5)
	b.publish(evs[:2]...)
	tr.untilSeen("a", Delivered, 2)
	tr.eventually("deliveries", func() bool {
		s := other.statusOf(b.ctx, "a")
		return s.State == Delivering && s.Delivered == 2 && !s.LastSuccess.IsZero() && s.LastError == "" && s.OldestWaiting.IsZero()
	})

	r.kill()
	b.publish(evs[2:]...)
	tr.untilSeen("a", Failed, failingAfter)
	tr.eventually("failure", func() bool {
		s := other.statusOf(b.ctx, "a")
		return s.State == Failing && s.Failures >= failingAfter && strings.Contains(s.LastError, "refused") && !s.LastFailure.IsZero() &&
			s.Waiting+int(s.Backlog) == 3
	})
	stream, err := b.js.Stream(b.ctx, "GUEST_SESSIONS")
	if err != nil {
		t.Fatal(err)
	}
	third, err := stream.GetMsg(b.ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	if s := other.statusOf(b.ctx, "a"); !s.OldestWaiting.Equal(third.Time) {
		t.Errorf("the oldest that waits is of %s, want %s", s.OldestWaiting, third.Time)
	}
	served := tr.Served()
	if len(served) != 1 || served[0].Name != "a" || served[0].State != Failing || !strings.Contains(served[0].LastError, "refused") {
		t.Errorf("as the serving process sees it: %+v", served)
	}
	text, err := json.Marshal(other.statusOf(b.ctx, "a"))
	if err != nil || !strings.Contains(string(text), `"state":"failing"`) || !strings.Contains(string(text), `"oldest_waiting":"`) {
		t.Errorf("as JSON: %s, %v", text, err)
	}

	r.revive(t)
	r.untilAccepted(t, evs...)
	tr.eventually("recovery", func() bool {
		s := other.statusOf(b.ctx, "a")
		return s.State == Delivering && s.Failures == 0 && s.Delivered == 5 && s.Waiting == 0
	})
	tr.stop()
	if s := other.statusOf(b.ctx, "a"); s.State != NotServed || s.Delivered != 5 {
		t.Errorf("after the process: %+v", s)
	}
	if served := tr.Served(); len(served) != 1 || served[0].State != NotServed {
		t.Errorf("after the process, as it sees it: %+v", served)
	}
}

// TestStatusTellsOfAProcessThatDied: it cannot say so itself.
func TestStatusTellsOfAProcessThatDied(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	tr := newTrial(t, b, endpointYAML("a", newReceiver(t, accept).URL))
	tr.start(b)
	tr.eventually("idle", func() bool { return tr.statusOf(b.ctx, "a").State == Idle })
	later := &trial{t: t, Dispatcher: &Dispatcher{JetStream: b.js, Path: tr.Path, Now: func() time.Time { return time.Now().Add(time.Minute) }}}
	if s := later.statusOf(b.ctx, "a"); s.State != NotServed {
		t.Errorf("a minute after its last record: %+v", s)
	}
}

func TestStateOfAnEndpoint(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	idle := Standing{Served: true, written: at}
	retrying, failing, delivering := idle, idle, idle
	retrying.Failures, retrying.LastFailure = 1, at
	failing.Failures, failing.LastFailure = failingAfter, at
	delivering.LastSuccess, delivering.LastFailure = at, at.Add(-time.Second)
	for want, s := range map[State]EndpointStatus{
		Idle: {Standing: idle}, Retrying: {Standing: retrying}, Failing: {Standing: failing}, Delivering: {Standing: delivering},
		NotServed: {Standing: Standing{LastSuccess: at, written: at}}, Off: {Standing: failing, Disabled: &Disabled{}},
	} {
		if got := s.state(at.Add(15 * time.Second)); got != want {
			t.Errorf("%+v: %s, want %s", s, got, want)
		}
	}
}

// TestEnabledWhileNobodyWatchedIsSeen: a command may come between the first look
// and the watch, or while the watch was broken.
func TestEnabledWhileNobodyWatchedIsSeen(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	r, err := openRecords(b.ctx, b.js, options{Bucket: DefaultBucket, Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.enable(b.ctx, "a"); err != nil {
		t.Fatal(err)
	}
	seen := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(b.ctx)
	done := make(chan error, 1)
	go func() { done <- r.changes(ctx, func() { seen <- struct{}{} }) }()
	select {
	case <-seen:
	case <-time.After(patience):
		t.Error("what changed before is not seen")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
