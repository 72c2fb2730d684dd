package main

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/internal/simulator"
)

// TestProcessesShareTheirAccounts: two processes with the same file and directories of
// their own have one account each, and one of them both after the other has ended. The
// stream is as if there had been but one.
func TestProcessesShareTheirAccounts(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	platforms := map[string]*simulated{"a": platformOf(t, "a"), "b": platformOf(t, "b")}
	path := accountsFile(t, "accounts:\n"+own("a", platforms["a"])+own("b", platforms["b"]))
	variables := []string{"GUESTFLOW_ACCOUNTS_FILE=" + path, "GUESTFLOW_NATS_URL=" + server.URL(), "GUESTFLOW_LEASE=3s"}
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
	one.eventuallyReady(http.StatusOK, "ready")
	two.eventuallyReady(http.StatusOK, "ready")
	one.end()
	shared(0, 2)
	two.eventuallyReady(http.StatusOK, "ready")
	for name := range platforms {
		two.eventuallySees(`guestflow_events_total{account="`+name+`",kind="ended"}`, 3)
	}
	until := platforms["a"].sim.Now()
	for name := range platforms {
		two.eventuallySees(`guestflow_events_total{account="`+name+`",kind="ended"}`, 10)
	}
	two.endPublished()

	conn := natstest.Connect(t, server.URL())
	all := kept(t, conn)
	revisionsGoOn(t, all)
	by := map[string][]events.Event{}
	for _, e := range all {
		by[e.Account] = append(by[e.Account], e)
	}
	for name, p := range platforms {
		verify(t, p, simulator.Checker{Until: until}, by[name])
	}
}
