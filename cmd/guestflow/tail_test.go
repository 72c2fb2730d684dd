package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/publisher"
)

// TestTailEndsWhereItIsTold: at a time, after a number of events, or at the end of
// the stream; and what nothing can come of is told instead of waited for.
func TestTailEndsWhereItIsTold(t *testing.T) {
	b := newBroker(t)
	b.start()
	js := jetStreamAt(t, b.running.URL())
	if _, err := publisher.EnsureStream(t.Context(), js, publisher.StreamSettings{Name: events.DefaultStream}); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		e := started("Phone")
		e.Data.Session.ID, e.Data.Session.LocationID, e.Data.Session.LocationName = fmt.Sprintf("s%d", i), "hotel", "The Lobby"
		if i == 5 {
			e.Data.Session.LocationID, e.Data.Session.LocationName = "bar", "Pool Bar"
		}
		e = e.Sealed()
		body, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), (events.Subjects{}).Of(e), body); err != nil {
			t.Fatal(err)
		}
	}
	groups := filepath.Join(t.TempDir(), "groups.yaml")
	if err := os.WriteFile(groups, []byte("groups: [{id: out, locations: [bar]}, {id: in, locations: [hotel, other/bar]}, {id: all, locations: [default/*]}, {id: nothing}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	environment(t, "GUESTFLOW_NATS_URL="+b.running.URL(), "GUESTFLOW_GROUPS_FILE="+groups)
	day := time.Now().Add(24 * time.Hour).Format(time.RFC3339)
	for _, c := range []struct {
		args   string
		code   int
		events int
		told   string
	}{
		{"--from-start --no-follow", 0, 6, ""},
		{"--since 7d --no-follow", 0, 6, ""},
		{"--since 1d12h --no-follow", 0, 6, ""},
		{"--since 0s --no-follow", 0, 0, ""},
		{"--no-follow", 0, 6, ""},
		{"--from-start --until 1h", 0, 0, ""},
		{"--from-start --until 1h --no-follow", 0, 0, ""},
		{"--from-start --until 0s", 0, 6, ""},
		{"--from-start --limit 2", 0, 2, ""},
		{"--from-start --limit 2 --location hotel --session s4 --no-follow", 0, 1, ""},
		{"--from-start --session s3 --no-follow", 0, 1, ""},
		{"--from-start --session nobody --no-follow", 0, 0, "holds no such event"},
		{"--from-start --location bar --no-follow", 0, 1, ""},
		{"--from-start --location bar --kind ended --no-follow", 0, 0, "holds no such event"},
		{"--from-start --group out --no-follow", 0, 1, ""},
		{"--from-start --group in --no-follow", 0, 5, ""},
		{"--from-start --group in --limit 3", 0, 3, ""},
		{"--from-start --group in --location bar --no-follow", 0, 0, "holds no such event"},
		{"--from-start --group out,in --no-follow", 0, 6, ""},
		{"--from-start --group all --no-follow", 0, 6, ""},
		{"--from-start --group nothing --no-follow", 0, 0, "holds no such event"},
		{"--group outt", 2, 0, `there is no group "outt"; did you mean out?`},
		{"--location lobby", 1, 0, `location "lobby"`},
		{"--location the-bar", 1, 0, "bar (Pool Bar), hotel (The Lobby)"},
		{"--location", 2, 0, "see guestflow tail --help"},
		{"--from-start --location=Pool\u00a0Bar", 1, 0, "bar (Pool Bar)"},
		{"--since " + day, 2, 0, "is in the future"},
		{"--since -1h", 2, 0, "2h, 7d"},
		{"--since 7x", 2, 0, "2h, 7d"},
		{"--limit -1", 2, 0, "--limit"},
		{"--limit many", 2, 0, `"many" for "--limit" flag: use a whole number; see`},
		{"--from-start --since 1h", 2, 0, "see guestflow tail --help"},
		{"--since 1h --until 2h", 2, 0, "before --since"},
	} {
		t.Run(c.args, func(t *testing.T) {
			var args []string
			for _, a := range strings.Split(c.args, " ") {
				args = append(args, strings.ReplaceAll(a, "\u00a0", " "))
			}
			var out, errs bytes.Buffer
			ended := make(chan int, 1)
			go func() { ended <- execute(append([]string{"tail"}, args...), &out, &errs) }()
			select {
			case code := <-ended:
				if n := strings.Count(out.String(), "\n"); code != c.code || n != c.events || !strings.Contains(errs.String(), c.told) {
					t.Errorf("exit code %d, %d events, %s; want %d, %d, %q", code, n, errs.String(), c.code, c.events, c.told)
				}
			case <-time.After(time.Minute):
				t.Error("it waits for ever")
			}
		})
	}
}
