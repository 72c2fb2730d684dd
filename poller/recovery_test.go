package poller

import (
	"testing"
	"time"

	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/platform"
)

// TestRequestsThatFailTogetherCountOnce: several are under way when the platform
// fails. Their errors are one, and no answer from before it says that it is over.
func TestRequestsThatFailTogetherCountOnce(t *testing.T) {
	clock := &stopped{now: noon}
	sessions := budget.New(60, nil, noon)
	p := New(Settings{Clock: clock, Budgets: map[platform.Endpoint]*budget.Budget{platform.Sessions: sessions}})
	p.prepare()
	fault := &platform.Error{Kind: platform.RateLimited, RetryAfter: 10 * time.Second}
	at := func(sent, came time.Duration) timing { return timing{sent: noon.Add(sent), came: noon.Add(came)} }

	p.requests.backOff(t.Context(), platform.Sessions, at(0, time.Second), fault)
	_, shrunk := sessions.Used(noon)
	next := sessions.Next(noon.Add(time.Second))
	p.requests.backOff(t.Context(), platform.Sessions, at(500*time.Millisecond, 2*time.Second), fault)
	p.requests.backOff(t.Context(), platform.Sessions, at(900*time.Millisecond, 3*time.Second), nil)
	if _, limit := sessions.Used(noon); limit != shrunk || limit >= 60 {
		t.Errorf("the limit is %d after the second error of a burst, %d after the first", limit, shrunk)
	}
	if again := sessions.Next(noon.Add(time.Second)); !again.Equal(next) {
		t.Errorf("the next request may go out at %v, want %v as before", again, next)
	}
	if p.requests.rests[platform.Sessions] == nil {
		t.Error("an answer to a request from before the error ended the pause")
	}

	p.requests.backOff(t.Context(), platform.Sessions, at(12*time.Second, 13*time.Second), nil)
	if p.requests.rests[platform.Sessions] != nil {
		t.Error("a good answer did not end the pause")
	}
}
