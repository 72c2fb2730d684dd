package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/internal/simulator"
)

// TestProcessesShareTheirAccounts: two processes with the same file and directories of
// their own have one account each, and one of them both after the other has ended. The
// stream is as if there had been but one, and one of them at a time sends the webhooks.
func TestProcessesShareTheirAccounts(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	platforms := map[string]*simulated{"a": platformOf(t, "a"), "b": platformOf(t, "b")}
	path := accountsFile(t, "accounts:\n"+own("a", platforms["a"])+own("b", platforms["b"]))
	crm := newReceiver(t)
	variables := []string{
		"GUESTFLOW_ACCOUNTS_FILE=" + path, "GUESTFLOW_NATS_URL=" + server.URL(), "GUESTFLOW_LEASE=10s",
		"GUESTFLOW_WEBHOOKS_FILE=" + endpointsFile(t, crm.url, "ordered: true\nkinds: [started, ended]"),
	}
	one := launch(t, settingsFor(t, variables...))
	two := launch(t, settingsFor(t, variables...))
	count := func(r *running) (n int) {
		for _, m := range r.fleet.all() {
			if m.open() != nil {
				n++
			}
		}
		return n
	}
	shared := func(want ...int) {
		t.Helper()
		eventually(t, func() string {
			if got := []int{count(one), count(two)}; fmt.Sprint(got) != fmt.Sprint(want) {
				return fmt.Sprintf("the processes run %v accounts, want %v", got, want)
			}
			return ""
		})
	}
	shared(1, 1)
	send := func() (n int) {
		for _, r := range []*running{one, two} {
			if len(r.hooks.Served()) > 0 {
				n++
			}
		}
		return n
	}
	eventually(t, func() string {
		if n := send(); n != 1 || crm.count() == 0 {
			return fmt.Sprintf("%d processes send webhooks, %d have come", n, crm.count())
		}
		return ""
	})
	one.eventuallyReady(http.StatusOK, "ready")
	two.eventuallyReady(http.StatusOK, "ready")
	one.end()
	shared(0, 2)
	two.eventuallyReady(http.StatusOK, "ready")
	for name := range platforms {
		two.eventuallySees(`guestflow_events_total{account="`+name+`",kind="ended"}`, 3)
	}
	before := crm.count()
	eventually(t, func() string {
		if len(two.hooks.Served()) == 0 || crm.count() == before {
			return "the process that is left sends no webhooks"
		}
		return ""
	})
	crm.inOrder(t)
	until := platforms["a"].sim.Now()
	for name := range platforms {
		two.eventuallySees(`guestflow_events_total{account="`+name+`",kind="ended"}`, 10)
	}
	conn := natstest.Connect(t, server.URL())
	of := func(account string) []events.Event {
		return slices.DeleteFunc(kept(t, conn), func(e events.Event) bool { return e.Account != account })
	}
	for name, p := range platforms {
		eventuallyTold(t, p, until, func() []events.Event { return of(name) }) // a lease may lapse on a busy machine
	}
	two.endPublished()
	revisionsGoOn(t, kept(t, conn))
	for name, p := range platforms {
		verify(t, p, simulator.Checker{Until: until}, of(name))
	}
}

// receiver takes webhooks.
type receiver struct {
	url string

	mu   sync.Mutex
	came []events.Event
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return // its sender went
		}
		e, err := events.Decode(body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.came = append(r.came, e)
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.came)
}

// inOrder: each event came once, and after those of its session before it.
func (r *receiver) inOrder(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	newest := map[string]int64{}
	for _, e := range r.came {
		session := e.Account + "/" + e.Data.Session.ID
		if e.Data.Revision <= newest[session] {
			t.Errorf("%s: revision %d came after %d", session, e.Data.Revision, newest[session])
		}
		newest[session] = e.Data.Revision
	}
}
