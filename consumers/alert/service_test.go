package alert

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events/alerts"
	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/internal/group"
	"github.com/guestflow/guestflow/internal/natstest"
)

// estate is a Source whose one venue has as many devices as it is told.
type estate struct {
	mu      sync.Mutex
	devices int
	now     time.Time
}

func (e *estate) have(devices int) { e.mu.Lock(); e.devices = devices; e.mu.Unlock() }

func (e *estate) Venues() (time.Time, []Venue, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now = e.now.Add(time.Second)
	return e.now, []Venue{{Account: "a", Location: "x.y", LookedAt: e.now, Devices: e.devices}}, true
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	breath := time.NewTicker(2 * time.Millisecond)
	defer breath.Stop()
	timeout := time.After(time.Minute)
	for !ok() {
		select {
		case <-breath.C:
		case <-timeout:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// TestEachAlertIsInTheStreamOnce, whatever is restarted, with two processes at it.
func TestEachAlertIsInTheStreamOnce(t *testing.T) {
	server := natstest.New(t)
	js := server.JetStream()
	file := filepath.Join(t.TempDir(), "alerts.yaml")
	write := func(text string) {
		t.Helper()
		err := os.WriteFile(file+".new", []byte(text), 0o600)
		if err == nil {
			err = os.Rename(file+".new", file) // two looks are but 2 ms apart here, and may both find half a file
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("alerts: [{name: full, above: 10, hold: 3s}]")
	source := &estate{now: noon}
	start := func() (*Service, func()) {
		t.Helper()
		s, err := New(Settings{File: file, Source: source, Every: 2 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		wait.Go(func() {
			if err := s.Run(ctx, js); err != nil {
				t.Error(err)
			}
		})
		stop := func() { cancel(); wait.Wait() }
		t.Cleanup(stop)
		return s, stop
	}
	raised := func(s *Service, n int) func() bool {
		return func() bool { st := s.Status(); return st.Error == "" && len(st.Raised) == n }
	}
	first, stopFirst := start()
	second, _ := start()
	source.have(20)
	until(t, "one raises it", raised(first, 1))
	until(t, "the other knows", raised(second, 1))
	stopFirst()
	third, _ := start()
	until(t, "a new one knows", raised(third, 1))

	write("alerts: [{name: full, above: many}]")
	until(t, "the file is found wrong", func() bool { return third.Status().File != "" })
	write("alerts: [{name: full, above: 10, hold: 4s}]")
	until(t, "it is right again", func() bool { return third.Status().File == "" })

	server.Stop()
	until(t, "NATS is missed", func() bool { return third.Status().Error != "" && second.Status().Error != "" })
	source.have(0)
	server.Start()
	until(t, "it is cleared", raised(second, 0))
	source.have(30)
	until(t, "it is raised again", raised(second, 1))
	until(t, "both know", func() bool { return len(third.Status().Recent) == 3 && raised(third, 1)() })

	stream, err := js.Stream(t.Context(), alerts.DefaultStream)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	ids := map[string]bool{}
	err = consume.Past(t.Context(), stream, consume.FromStart(), []string{"guest.alerts.a.x%2Ey.*"}, func(m jetstream.Msg, _ *jetstream.MsgMetadata) (bool, error) {
		e, err := alerts.Decode(m.Data())
		kinds, ids[e.ID] = append(kinds, string(e.Kind)), true
		return true, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(kinds) != 3 || len(ids) != 3 || kinds[0] != "raised" || kinds[1] != "cleared" || kinds[2] != "raised" {
		t.Errorf("the stream holds %v", kinds)
	}
	if recent := third.Status().Recent; len(recent) != 3 || recent[0].Kind != alerts.Raised {
		t.Errorf("recent: %v", recent)
	}
}

// TestWhoComesSecondLearnsOfIt: two processes clear an alert, or raise it, with looks
// before either has published. The second's event is refused, or known by its id, and the
// stream then tells it of the first's.
func TestWhoComesSecondLearnsOfIt(t *testing.T) {
	js := natstest.New(t).JetStream()
	file := filepath.Join(t.TempDir(), "alerts.yaml")
	if err := os.WriteFile(file, []byte("alerts: [{name: full, above: 10, hold: 0s}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	type process struct {
		*Service
		*estate
		last uint64
	}
	var stream jetstream.Stream
	at := func() *process {
		p := &process{estate: &estate{now: noon}}
		var err error
		if p.Service, err = New(Settings{File: file, Source: p.estate, Log: slog.New(slog.DiscardHandler)}); err != nil {
			t.Fatal(err)
		}
		if stream, err = p.stream(t.Context(), js); err != nil {
			t.Fatal(err)
		}
		return p
	}
	first, second := at(), at()
	round := func(p *process) {
		t.Helper()
		var err error
		if p.last, err = p.round(t.Context(), js, stream, stream.CachedInfo().Created, p.last); err != nil {
			t.Fatal(err)
		}
	}
	for i, devices := range []int{20, 0, 20, 0} {
		first.have(devices)
		second.have(devices)
		now, venues, _ := second.Venues()
		due := second.judge.Look(now, venues)
		round(first)
		if len(due) != 1 {
			t.Fatalf("with %d devices %v is due", devices, due)
		}
		if _, err := second.publish(t.Context(), js, due[0], second.last); !errors.Is(err, errFirst) {
			t.Errorf("the second publishes %s, too: %v", due[0].Kind, err)
		}
		round(second)
		for name, p := range map[string]*process{"first": first, "second": second} {
			if st := p.Status(); len(st.Raised) != (i+1)%2 || len(st.Recent) != i+1 {
				t.Errorf("with %d devices the %s process knows of %d alerts and %d events, want %d and %d", devices, name, len(st.Raised), len(st.Recent), (i+1)%2, i+1)
			}
		}
	}
}

// TestHalfAFileIsNoFile: an editor that truncates the file and then writes it clears nothing.
func TestHalfAFileIsNoFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "alerts.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("alerts: [{name: full, above: 10}]")
	s, err := New(Settings{File: file, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	look := func(what string, rules int) {
		t.Helper()
		if err := s.read(); err != nil || s.Status().Rules != rules {
			t.Errorf("%s: %d rules, %v; want %d", what, s.Status().Rules, err, rules)
		}
	}
	look("as it was", 1)
	write("")
	look("amid a write", 1)
	write("alerts: [{name: full, above: 10}, {name: empty, below: 2}]")
	look("just written", 1)
	look("still the same", 2)
	write("")
	look("emptied", 2)
	look("for good", 0)
}

// TestRulesFollowTheirGroups: a location that leaves a rule's groups has its alert cleared, one
// that joins them is watched, and groups that no rule asks for change nothing.
func TestRulesFollowTheirGroups(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, of := filepath.Join(dir, "alerts.yaml"), filepath.Join(dir, "groups.yaml")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tree := func(text string) *group.Tree {
		t.Helper()
		write(of, text)
		groups, err := group.Load(of, "a")
		if err != nil {
			t.Fatal(err)
		}
		return groups
	}
	groups := tree("groups: [{id: north, locations: [one, b/two]}]")
	write(file, "alerts: [{name: full, above: 10, hold: 0s, groups: [north]}]")
	s, err := New(Settings{File: file, Groups: func() *group.Tree { return groups }, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	told := &story{t: t, judge: s.judge, now: noon}
	other := func() Venue { v := told.at("two", 20, 0); v.Account = "b"; return v }
	look := func() string { // in order, since that of ids is of no matter
		all := strings.Split(told.look(told.at("one", 20, 0), told.at("two", 20, 0), other()), ", ")
		slices.Sort(all)
		return strings.Join(all, ", ")
	}
	expect(t, "the groups", look(), "raised full one, raised full two")
	groups = tree("groups: [{id: north, locations: [one, two]}, {id: south}]")
	for range 2 {
		if err := s.read(); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, "b/two has left, a/two has come", look(), "cleared full two removed, raised full two")
	s.judge.since[key{"a", "one", "full"}] = noon
	groups = tree("groups: [{id: north, locations: [one, two]}, {id: south, locations: [three]}]")
	for range 2 {
		if err := s.read(); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.judge.since) != 1 {
		t.Error("what is held begins anew where no rule has changed")
	}
	groups = tree("groups: [{id: south}]")
	err = errors.Join(s.read(), s.read())
	if err == nil || !strings.Contains(err.Error(), `alert "full": groups: there is no group "north"`) || s.Status().File == "" {
		t.Errorf("a group that is gone: %v", err)
	}
	if _, err := Load(file, nil); err == nil || !strings.Contains(err.Error(), "set GUESTFLOW_GROUPS_FILE") {
		t.Errorf("no groups: %v", err)
	}
}
