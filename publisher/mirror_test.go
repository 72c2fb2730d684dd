package publisher

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// TestMirrorIsPromotedRatherThanDeleted: it may be the last copy there is. What the error
// tells to do makes it a stream that will do, with all that it held.
func TestMirrorIsPromotedRatherThanDeleted(t *testing.T) {
	t.Parallel()
	js := connect(t, startBroker(t).URL())
	ctx := testContext(t)
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "LOST", Subjects: []string{"guest.sessions.*.*.*"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, "guest.sessions.a.b.started", nil); err != nil {
		t.Fatal(err)
	}
	config := jetstream.StreamConfig{Name: testStream, MaxAge: time.Hour, Mirror: &jetstream.StreamSource{Name: "LOST"}}
	mirror, err := js.CreateStream(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	for range time.Tick(10 * time.Millisecond) {
		if info, err := mirror.Info(ctx); err != nil || info.State.Msgs == 1 {
			break
		}
	}
	for _, c := range []struct {
		want StreamSettings
		told string
	}{
		{StreamSettings{Name: testStream, MaxAge: time.Hour}, "stop every guestflow, run: nats stream edit TEST --no-mirror --subjects='guest.sessions.*.*.*' --metadata guestflow.made=again --dupe-window=2m0s, and start with the former data directory"},
		{StreamSettings{Name: testStream, MaxAge: 2 * time.Hour}, " --no-mirror --subjects='guest.sessions.*.*.*' --metadata guestflow.made=again --dupe-window=2m0s --max-age=2h0m0s,"},
		{StreamSettings{Name: testStream, Declared: true}, "make it so where it is declared, and start with"},
	} {
		_, err := EnsureStream(ctx, js, c.want)
		var differs *StreamError
		if !errors.As(err, &differs) || !strings.Contains(err.Error(), "a copy of LOST") || !strings.Contains(err.Error(), c.told) {
			t.Errorf("%v, want %q", err, c.told)
		}
		if err != nil && strings.Contains(err.Error(), "nats stream rm") {
			t.Errorf("it says how to delete the copy: %v", err)
		}
	}
	if err := js.DeleteStream(ctx, "LOST"); err != nil {
		t.Fatal(err)
	}
	config.Mirror, config.Subjects, config.Duplicates = nil, []string{"guest.sessions.*.*.*"}, 2*time.Minute
	if _, err := js.UpdateStream(ctx, config); err != nil {
		t.Fatal(err)
	}
	info, err := EnsureStream(ctx, js, StreamSettings{Name: testStream, MaxAge: time.Hour})
	if err != nil || info.State.Msgs != 1 {
		t.Fatalf("promoted: %+v, %v", info, err)
	}
	if told, err := Cautions(info.Config); err != nil || len(told) > 0 {
		t.Errorf("promoted: %q, %v", told, err)
	}
}

// TestCautions are of what the server does silently: it gives a stream with sources no
// duplicate window, and takes it away with the edit that adds one.
func TestCautions(t *testing.T) {
	t.Parallel()
	js := connect(t, startBroker(t).URL())
	ctx := testContext(t)
	for name, c := range map[string]struct {
		is    jetstream.StreamConfig
		added []*jetstream.StreamSource // by an edit
		want  []string
	}{
		"usual":             {is: jetstream.StreamConfig{}},
		"longer window":     {is: jetstream.StreamConfig{Duplicates: time.Hour}},
		"short life":        {is: jetstream.StreamConfig{MaxAge: time.Minute}},
		"short window":      {is: jetstream.StreamConfig{Duplicates: time.Second}, want: []string{"duplicate_window is 1s, wanted 2m0s or longer"}},
		"short both":        {is: jetstream.StreamConfig{MaxAge: time.Minute, Duplicates: time.Second}, want: []string{"--dupe-window=1m0s"}},
		"sources":           {is: jetstream.StreamConfig{Sources: []*jetstream.StreamSource{{Name: "OTHER"}}}, want: []string{"copies OTHER too", "duplicate_window is none"}},
		"source of a leaf":  {is: jetstream.StreamConfig{Sources: []*jetstream.StreamSource{{Name: "OTHER", Domain: "leaf"}}, Duplicates: time.Hour}, want: []string{"OTHER at $JS.leaf.API"}},
		"source added":      {is: jetstream.StreamConfig{}, added: []*jetstream.StreamSource{{Name: "OTHER"}}, want: []string{"copies OTHER too", "duplicate_window is none"}},
		"source and window": {is: jetstream.StreamConfig{Sources: []*jetstream.StreamSource{{Name: "OTHER"}}, Duplicates: time.Hour}, want: []string{"copies OTHER too"}},
	} {
		c.is.Name, c.is.Subjects = strings.ReplaceAll(name, " ", "-"), []string{strings.ReplaceAll(name, " ", "-") + ".>"}
		made, err := js.CreateStream(ctx, c.is)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.added != nil {
			c.is.Sources = c.added
			if made, err = js.UpdateStream(ctx, c.is); err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
		}
		told, err := Cautions(made.CachedInfo().Config)
		if err != nil || len(told) != len(c.want) {
			t.Errorf("%s: %q, %v, want %d", name, told, err, len(c.want))
			continue
		}
		for i, want := range c.want {
			if !strings.Contains(told[i], want) {
				t.Errorf("%s: %q, want %q", name, told[i], want)
			}
		}
	}
	_, err := Cautions(jetstream.StreamConfig{Name: "M", Mirror: &jetstream.StreamSource{Name: "OTHER"}})
	if mirror := (*MirrorError)(nil); !errors.As(err, &mirror) || mirror.Of != "OTHER" || !strings.Contains(err.Error(), "nats stream edit M --no-mirror") {
		t.Errorf("of a mirror: %v", err)
	}
}

// TestPromotedMirrorGetsWhatItLacked from the outboxes that published into what it copied,
// once and in order, also where another account has gone on in the meantime.
func TestPromotedMirrorGetsWhatItLacked(t *testing.T) {
	everyWay(t, func(t *testing.T, way Way) {
		js := connect(t, startBroker(t).URL())
		ctx := testContext(t)
		if _, err := EnsureStream(ctx, js, StreamSettings{Name: "LOST"}); err != nil {
			t.Fatal(err)
		}
		a, b := newMemory("a"), newMemory("b")
		publish := func(stream string, s *memory, n int) *watcher {
			s.add(n)
			p, w := newTestPublisher(js, s, way)
			p.Stream = stream
			drain(t, p)
			return w
		}
		publish("LOST", a, 20)
		publish("LOST", b, 20)
		config := jetstream.StreamConfig{Name: testStream, Mirror: &jetstream.StreamSource{Name: "LOST"}}
		mirror, err := js.CreateStream(ctx, config)
		if err != nil {
			t.Fatal(err)
		}
		for range time.Tick(10 * time.Millisecond) {
			if info, err := mirror.Info(ctx); err != nil || info.State.Msgs == 40 {
				break
			}
		}
		config.Mirror, config.Subjects = nil, []string{"nothing.yet"} // the link is lost
		if _, err := js.UpdateStream(ctx, config); err != nil {
			t.Fatal(err)
		}
		publish("LOST", a, 10)
		publish("LOST", b, 5)
		if err := js.DeleteStream(ctx, "LOST"); err != nil {
			t.Fatal(err)
		}
		config.Subjects, config.Metadata = []string{"guest.sessions.*.*.*"}, map[string]string{events.MetadataMade: events.MadeAgain}
		config.AllowAtomicPublish, config.AllowBatchPublish = true, true
		if _, err := js.UpdateStream(ctx, config); err != nil {
			t.Fatal(err)
		}
		if w := publish(testStream, b, 30); w.healed != 5 || w.sent != 35 {
			t.Errorf("%d of %d sent are what the mirror lacked, want 5 of 35", w.healed, w.sent)
		}
		if w := publish(testStream, a, 1); w.healed != 10 || w.sent != 11 {
			t.Errorf("%d of %d sent are what the mirror lacked, want 10 of 11", w.healed, w.sent)
		}
		publish(testStream, b, 1)
		holdsExactly(t, js, a, b)
	})
}
