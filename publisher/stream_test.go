package publisher

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

func TestStreamIsMadeAndThenLeftAlone(t *testing.T) {
	js := connect(t, startBroker(t).URL())
	ctx := testContext(t)
	want := StreamSettings{Name: testStream, MaxAge: time.Hour}
	made, err := EnsureStream(ctx, js, want)
	if err != nil {
		t.Fatal(err)
	}
	c := made.Config
	if c.Storage != jetstream.FileStorage || c.Retention != jetstream.LimitsPolicy || !c.AllowDirect || !c.AllowAtomicPublish ||
		c.MaxAge != time.Hour || len(c.Subjects) != 1 || c.Subjects[0] != "guest.sessions.*.*.*" || c.Replicas != 1 {
		t.Errorf("made %+v", c)
	}
	again, err := EnsureStream(ctx, js, want)
	if err != nil {
		t.Fatal(err)
	}
	if !again.Created.Equal(made.Created) {
		t.Error("made anew")
	}
}

func TestOperatorsStreamIsAccepted(t *testing.T) {
	js := connect(t, startBroker(t).URL())
	ctx := testContext(t)
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name: testStream, Subjects: []string{"other.>", "guest.>"}, MaxAge: 48 * time.Hour, MaxBytes: 1 << 20, Compression: jetstream.S2Compression,
	}); err != nil {
		t.Fatal(err)
	}
	info, err := EnsureStream(ctx, js, StreamSettings{Name: testStream, MaxAge: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if info.Config.AllowAtomicPublish || info.Config.AllowDirect || info.Config.Compression != jetstream.S2Compression {
		t.Errorf("changed to %+v", info.Config)
	}
}

func TestStreamThatWouldLoseEventsIsRefusedAndNotChanged(t *testing.T) {
	for _, c := range []struct {
		name   string
		is     jetstream.StreamConfig
		fields string
		remedy string
	}{
		{"subjects", jetstream.StreamConfig{Subjects: []string{"guest.sessions.one.*.*"}}, "subjects", "nats stream edit TEST --subjects='guest.sessions.one.*.*,guest.sessions.*.*.*'"},
		{"short age and few per subject", jetstream.StreamConfig{MaxAge: time.Hour, MaxMsgsPerSubject: 5}, "max_msgs_per_subject max_age", "nats stream edit TEST --max-msgs-per-subject=-1 --max-age=24h0m0s"},
		{"memory", jetstream.StreamConfig{Storage: jetstream.MemoryStorage}, "storage", "nats stream rm TEST"},
		{"work queue", jetstream.StreamConfig{Retention: jetstream.WorkQueuePolicy}, "retention", "nats stream rm TEST"},
		{"no acks", jetstream.StreamConfig{NoAck: true}, "no_ack", "nats stream edit TEST --ack"},
		{"transform", jetstream.StreamConfig{SubjectTransform: &jetstream.SubjectTransformConfig{Source: ">", Destination: "x.>"}}, "subject_transform", "nats stream edit TEST --no-transform"},
	} {
		t.Run(c.name, func(t *testing.T) {
			js := connect(t, startBroker(t).URL())
			ctx := testContext(t)
			c.is.Name = testStream
			if c.is.Subjects == nil {
				c.is.Subjects = []string{"guest.sessions.>"}
			}
			made, err := js.CreateStream(ctx, c.is)
			if err != nil {
				t.Fatal(err)
			}
			before := made.CachedInfo().Config
			_, err = EnsureStream(ctx, js, StreamSettings{Name: testStream, MaxAge: 24 * time.Hour})
			var differs *StreamError
			if !errors.As(err, &differs) {
				t.Fatalf("got %v", err)
			}
			var fields []string
			for _, d := range differs.Differences {
				fields = append(fields, d.Field)
			}
			if got := strings.Join(fields, " "); got != c.fields {
				t.Errorf("fields %q, want %q", got, c.fields)
			}
			if !strings.HasSuffix(err.Error(), c.remedy) {
				t.Errorf("error %q does not end with %q", err, c.remedy)
			}
			now, err := made.Info(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(now.Config, before) {
				t.Errorf("changed from\n%+v to\n%+v", before, now.Config)
			}
		})
	}
}

func TestReplicasAreAsked(t *testing.T) {
	is := jetstream.StreamConfig{Subjects: []string{"guest.sessions.*.*.*"}, Replicas: 1}
	got := differences(is, StreamSettings{Replicas: 3})
	if len(got) != 1 || got[0].Field != "num_replicas" || got[0].Edit != "--replicas=3" {
		t.Errorf("got %+v", got)
	}
	is.Replicas = 5
	if got := differences(is, StreamSettings{Replicas: 3}); len(got) != 0 {
		t.Errorf("more replicas: %+v", got)
	}
}

func TestOverlappingStreamIsExplained(t *testing.T) {
	js := connect(t, startBroker(t).URL())
	ctx := testContext(t)
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"guest.>"}}); err != nil {
		t.Fatal(err)
	}
	_, err := EnsureStream(ctx, js, StreamSettings{Name: testStream})
	if err == nil || !strings.Contains(err.Error(), "GUESTFLOW_STREAM") {
		t.Errorf("got %v", err)
	}
}

func TestCovers(t *testing.T) {
	all := new(events.Subjects).All()
	for pattern, want := range map[string]bool{
		all: true, ">": true, "guest.>": true, "guest.sessions.>": true, "*.*.*.*.*": true, "guest.*.*.*.*": true,
		"guest.sessions.*.*": false, "guest.sessions.*.*.*.*": false, "guest.sessions.a.*.*": false,
		"guest.sessions.*.*.*.>": false, "guest.sessions": false, "hotel.>": false,
	} {
		if got := covers(pattern, all); got != want {
			t.Errorf("covers(%q, %q) is %v", pattern, all, got)
		}
	}
	if covers("guest.*", "guest.>") {
		t.Error("guest.* covers guest.>")
	}
}

// TestDeclaredStreamIsNeverMade: whoever declares streams elsewhere finds none that
// nobody declared, and is told to mend the declaration.
func TestDeclaredStreamIsNeverMade(t *testing.T) {
	js := connect(t, startBroker(t).URL())
	ctx := testContext(t)
	want := StreamSettings{Name: testStream, MaxAge: time.Hour, Declared: true}
	_, err := EnsureStream(ctx, js, want)
	if !errors.Is(err, jetstream.ErrStreamNotFound) || !strings.Contains(err.Error(), "GUESTFLOW_STREAM_MANAGE=false") {
		t.Errorf("got %v", err)
	}
	if _, err := js.Stream(ctx, testStream); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("made: %v", err)
	}
	declared := jetstream.StreamConfig{Name: testStream, Subjects: []string{"guest.sessions.>"}, MaxAge: time.Minute}
	if _, err := js.CreateStream(ctx, declared); err != nil {
		t.Fatal(err)
	}
	if _, err = EnsureStream(ctx, js, want); err == nil || !strings.HasSuffix(err.Error(), "max_age is 1m0s, wanted 1h0m0s or longer; mend it where it is declared") {
		t.Errorf("got %v", err)
	}
	declared.MaxAge = time.Hour
	if _, err := js.UpdateStream(ctx, declared); err != nil {
		t.Fatal(err)
	}
	if _, err := EnsureStream(ctx, js, want); err != nil {
		t.Error(err)
	}
}

func TestCheckTellsWhatAnEditWouldBring(t *testing.T) {
	t.Parallel()
	js := connect(t, startBroker(t).URL())
	for _, c := range []struct {
		is   jetstream.StreamConfig
		want string
	}{
		{jetstream.StreamConfig{}, "--allow-batch --allow-fast"},
		{jetstream.StreamConfig{AllowAtomicPublish: true}, "--allow-fast"},
		{jetstream.StreamConfig{AllowAtomicPublish: true, AllowBatchPublish: true}, ""},
		{jetstream.StreamConfig{AllowAtomicPublish: true, Replicas: 3}, ""},
	} {
		if got := WouldGain(&jetstream.StreamInfo{Config: c.is}, js.Conn()); got != c.want {
			t.Errorf("%+v: %q, want %q", c.is, got, c.want)
		}
	}
}

// TestNewStreamsTakeFastBatches, and Auto uses them for a backlog, and for what comes
// singly where atomic batches are not allowed.
func TestNewStreamsTakeFastBatches(t *testing.T) {
	t.Parallel()
	js := connect(t, startBroker(t).URL())
	info, err := EnsureStream(testContext(t), js, StreamSettings{Name: testStream})
	if err != nil || !info.Config.AllowBatchPublish {
		t.Fatalf("made %+v, %v", info, err)
	}
	for _, c := range []struct {
		sight sight
		want  Way
	}{
		{sight{atomic: true, batched: true, replicas: 1}, Atomic},
		{sight{batched: true, replicas: 1}, Fast},
		{sight{batched: true, replicas: 3}, Chained},
		{sight{atomic: true, batched: true, replicas: 3}, Atomic},
		{sight{replicas: 1}, Chained},
	} {
		a := &attempt{Publisher: &Publisher{Clock: systemClock{}}}
		if err := a.settleWay(c.sight); err != nil || a.way != c.want {
			t.Errorf("%+v: %s, %v, want %s", c.sight, a.way, err, c.want)
		}
		if !c.sight.atomic || c.sight.replicas > 1 {
			continue
		}
		a.pace.turn()
		if err := a.settleWay(c.sight); err != nil || a.way != Fast {
			t.Errorf("backlog, %+v: %s, %v", c.sight, a.way, err)
		}
	}
}
