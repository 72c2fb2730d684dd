package main

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/publisher"
	"github.com/guestflow/guestflow/store"
)

// olderFiles are where the store's tests keep what earlier versions wrote.
const olderFiles = "../../store/testdata"

func unpack(t *testing.T, name string) io.Reader {
	t.Helper()
	f, err := os.Open(filepath.Join(olderFiles, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// republish puts the messages that an earlier version published into a stream, as they
// were.
func republish(t *testing.T, server *natstest.Server, messages io.Reader) (all []events.Event) {
	t.Helper()
	js := server.JetStream()
	subjects, err := events.NewSubjects("guest.sessions")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := publisher.EnsureStream(t.Context(), js, publisher.StreamSettings{Name: "GUEST_SESSIONS", Subjects: subjects, Replicas: 1}); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(messages)
	for lines.Scan() {
		var m struct {
			Subject string
			Header  nats.Header
			Body    json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Body}); err != nil {
			t.Fatal(err)
		}
		e, err := events.Decode(m.Body)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// TestUpgradeTellsEverythingOnce: a version that kept its files in format 1 was stopped
// while NATS was away. This one goes on with its data directory and stream: what was
// unsent comes into the stream, once and in order, and the sessions, of which the
// platform knows nothing any more, end.
func TestUpgradeTellsEverythingOnce(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	before := republish(t, server, unpack(t, "format-1.stream.jsonl.gz"))
	p := platformOf(t, "default")
	cfg := settingsFor(t, "GUESTFLOW_API_URL="+p.url, "GUESTFLOW_API_TOKEN=right-default", "GUESTFLOW_API_RATE_LIMIT=1200", "GUESTFLOW_NATS_URL="+server.URL())
	state, err := io.ReadAll(unpack(t, "format-1.db.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cfg.statePath(), state, 0o600); err != nil {
		t.Fatal(err)
	}
	var told struct {
		States []events.State
		Unsent []json.RawMessage
	}
	text, err := os.ReadFile(filepath.Join(olderFiles, "format-1.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &told); err != nil {
		t.Fatal(err)
	}

	r := launch(t, cfg)
	r.eventuallyReady(http.StatusOK, "ready")
	eventually(t, func() string {
		for _, st := range told.States {
			if now, ok, err := r.only().Store.State(st.Session.ID); err != nil || !ok || now.Session.Online {
				return "session " + st.Session.ID + " has not ended"
			}
		}
		return ""
	})
	r.endPublished()

	conn := natstest.Connect(t, server.URL())
	all := kept(t, conn)
	revisionsGoOn(t, all)
	for i, e := range before {
		if all[i].ID != e.ID {
			t.Fatalf("message %d is another than before", i+1)
		}
	}
	for i, body := range told.Unsent {
		e, err := events.Decode(body)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) <= len(before)+i || all[len(before)+i].ID != e.ID {
			t.Fatalf("unsent event %d, %s of session %s, does not follow in the stream", i+1, e.Kind, e.Data.Session.ID)
		}
	}
	if err := r.Close(); err != nil {
		t.Log(err) // closed by end already
	}
	if err := store.Check(cfg.statePath()); err != nil {
		t.Error(err)
	}
}
