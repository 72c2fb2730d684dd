package store

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/guestflow/guestflow/events"
)

// description is what the version that wrote a file of testdata said of its content.
type description struct {
	States []events.State    `json:"states"`
	Acked  uint64            `json:"acked"`
	Unsent []json.RawMessage `json:"unsent"`
	// Suspects is how many sessions were under suspicion, which format 1 kept.
	Suspects int `json:"suspects"`
}

// unpacked writes a packed file of testdata into a directory of the test.
func unpacked(t *testing.T, name string) (path string) {
	t.Helper()
	packed, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	r, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "default.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestFilesOfOlderVersionsOpen: files that earlier versions wrote while they ran, with
// sessions online and ended, unsent events and what was learned, are read as they were
// meant, and written on. Each format of the file has one; README.md of testdata says how
// another is made.
func TestFilesOfOlderVersionsOpen(t *testing.T) {
	for _, format := range []string{"format-1", "format-2"} {
		t.Run(format, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata", format+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var want description
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			if len(want.States) < 20 || len(want.Unsent) < 10 || format == "format-1" && want.Suspects == 0 {
				t.Fatalf("the file has too little to mean anything: %d sessions, %d unsent events", len(want.States), len(want.Unsent))
			}
			path := unpacked(t, format+".db.gz")
			s := openedAt(t, path, Options{})
			holdsWhatWasWritten(t, s, want)
			st := want.States[0]
			end := st.Session
			end.Online = false
			e := follow(st, events.Ended, end, st.SeenAt.Add(1e9)).Sealed()
			if err := s.Commit(Commit{Changes: []events.Event{e}}); err != nil {
				t.Fatal(err)
			}
			if err := s.Invariants(); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			again := openedAt(t, path, Options{})
			if got, ok, err := again.State(end.ID); err != nil || !ok || got.Session.Online || got.Revision != st.Revision+1 {
				t.Errorf("after the end: %+v, %v, %v", got, ok, err)
			}
		})
	}
}

func holdsWhatWasWritten(t *testing.T, s *Store, want description) {
	t.Helper()
	if err := s.Invariants(); err != nil {
		t.Fatal(err)
	}
	online := 0
	if err := s.All(func(events.State) bool { online++; return true }); err != nil || online != len(want.States) {
		t.Errorf("%d sessions are online, want %d (%v)", online, len(want.States), err)
	}
	for _, was := range want.States {
		got, ok, err := s.State(was.Session.ID)
		// The errors of the figures are not in the description.
		got.Session.Downloaded.Error, got.Session.Uploaded.Error = 0, 0
		if err != nil || !ok || got != was {
			t.Errorf("session %s: %+v, %v, want %+v", was.Session.ID, got, err, was)
		}
	}
	if got := s.Cursor().OutboxSeq; got != want.Acked {
		t.Errorf("confirmed up to %d, want %d", got, want.Acked)
	}
	unsent, err := s.Take(want.Acked, len(want.Unsent)+1)
	if err != nil || len(unsent) != len(want.Unsent) {
		t.Fatalf("%d unsent events, want %d (%v)", len(unsent), len(want.Unsent), err)
	}
	for i, e := range unsent {
		if !bytes.Equal(e.Body, want.Unsent[i]) {
			t.Errorf("unsent event %d is %s, want %s", e.Seq, e.Body, want.Unsent[i])
		}
	}
	// What the poller and the publisher remember, under the names that they use still.
	for _, name := range []string{"account.rates", "account.tracking", "publisher/outbox"} {
		if v, err := s.Get(name); err != nil || len(v) == 0 {
			t.Errorf("%s: %q, %v", name, v, err)
		}
	}
}
