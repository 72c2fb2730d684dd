package store

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

// childEnv makes the test binary the process that is killed.
const childEnv = "STORE_TEST_COMMIT_TO"

// stageEnv has it stage what it commits.
const stageEnv = "STORE_TEST_STAGE"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		if err := commitForever(path, os.Getenv(stageEnv) != ""); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// commitForever commits, takes and acknowledges, and prints the last sequence
// number after each durable commit. Or it stages commits, and behind each a value that
// names a session of it.
func commitForever(path string, stage bool) error {
	s, err := Open(path, Options{SentRetention: time.Millisecond})
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(uint64(os.Getpid()), 1))
	for {
		var ids []string
		for range 1 + random.IntN(20) {
			ids = append(ids, sessionID(random.IntN(300)))
		}
		known, err := s.Find(ids)
		if err != nil {
			return err
		}
		var c Commit
		now := time.Now().UTC()
		for _, id := range ids {
			st := known[id]
			var change events.Event
			switch roll := random.IntN(10); {
			case !st.Tracked():
				change = arrival(id, "l"+strconv.Itoa(random.IntN(5)), now)
			case !st.Session.Online:
				change = resumed(st, now)
			case roll == 0:
				change = ended(st, now)
			case roll == 1:
				change = moved(st, "l"+strconv.Itoa(random.IntN(5)), now)
			default:
				change = traffic(st, 1+random.Int64N(1000), now)
			}
			known[id] = events.StateOf(change)
			c.Changes = append(c.Changes, change)
		}
		if !stage {
			err = s.Commit(c)
		} else if err = s.Stage(c); err == nil {
			err = s.StageValue("newest", []byte(ids[0]))
		}
		if err != nil {
			return err
		}
		fmt.Println(s.Outbox().Last)
		entries, err := s.Take(s.Cursor().OutboxSeq, random.IntN(15))
		if err != nil {
			return err
		}
		if len(entries) > 0 {
			if err := s.Acked(Cursor{OutboxSeq: entries[len(entries)-1].Seq, StreamSeq: 1}); err != nil {
				return err
			}
		}
	}
}

func TestKillLosesNoCommitAndLeavesAWholeStore(t *testing.T) { killed(t, 8, childEnv+"=") }

// What is staged may be lost, but never a part of it: the file is as of some moment.
func TestKillLeavesWhatWasStagedInOrder(t *testing.T) { killed(t, 4, stageEnv+"=1", childEnv+"=") }

func killed(t *testing.T, rounds int, env ...string) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "default.db")
	random := rand.New(rand.NewPCG(1, 2))
	for round := range rounds {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), env...)
		child.Env[len(child.Env)-1] += path
		var stderr bytes.Buffer
		child.Stderr = &stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		// It is in the middle of the next commit, somewhere, when it is killed.
		lines := bufio.NewScanner(out)
		kill := 1 + random.IntN(25)
		last := uint64(0)
		for n := 1; lines.Scan(); n++ {
			if last, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
				t.Fatal(err)
			}
			if n == kill {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := child.Wait(); err == nil || stderr.Len() > 0 {
			t.Fatalf("round %d: the child ended with %v: %s", round, err, &stderr)
		}
		if err := Check(path); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		s, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Outbox().Last; got < last {
			t.Errorf("round %d: the outbox ends at %d, %d was committed", round, got, last)
		}
		agree(t, s)
		if newest, err := s.Get("newest"); err != nil {
			t.Fatal(err)
		} else if _, ok, err := s.State(string(newest)); len(newest) > 0 && (!ok || err != nil) {
			t.Errorf("round %d: a value is there that was staged behind session %s, which is not: %v", round, newest, err)
		}
		if err := errors.Join(s.Invariants(), s.Close()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
}

// agree checks that each session's state is the one after its last event in the
// outbox, by way of the exported methods alone.
func agree(t *testing.T, s *Store) {
	t.Helper()
	last := map[string]events.Event{}
	var ids []string
	after := uint64(0)
	for {
		entries := taken(t, s, after, 1000)
		if len(entries) == 0 {
			break
		}
		for _, e := range published(t, entries) {
			last[e.Data.Session.ID] = e
			ids = append(ids, e.Data.Session.ID)
		}
		after = entries[len(entries)-1].Seq
	}
	states, err := s.Find(ids)
	if err != nil {
		t.Fatal(err)
	}
	for id, e := range last {
		if got, want := states[id], events.StateOf(e); !reflect.DeepEqual(got, want) {
			t.Errorf("session %s is\n%+v, its last event leads to\n%+v", id, got, want)
		}
	}
}

// A power loss may keep any part of what a commit wrote. Until its last page, which
// says where the others are, is whole, the file is what it was before.
func TestTornCommitNeverHappened(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	var in []events.Event
	for i := range 100 {
		in = append(in, arrival(sessionID(i), "here", c.Now()))
	}
	commit(t, s, in...)
	before, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	want, box := located(t, s, "here"), s.Outbox()
	in = nil
	for _, st := range want.Sessions {
		in = append(in, traffic(st, 1000, c.Now()))
	}
	commit(t, s, in...)
	after, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	newest := 0
	if transaction(after, page) > transaction(after, 0) {
		newest = page
	}
	random := rand.New(rand.NewPCG(3, 4))
	for round := range 20 {
		torn := append([]byte(nil), before...)
		torn = append(torn, make([]byte, len(after)-len(before))...)
		for at := 0; at < len(after); at += page {
			if at != newest && random.IntN(2) == 0 {
				copy(torn[at:at+page], after[at:])
			}
		}
		if round%2 == 1 { // Half of the last page came through.
			copy(torn[newest:newest+60], after[newest:])
		}
		path := filepath.Join(t.TempDir(), "torn.db")
		if err := os.WriteFile(path, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		again := openedAt(t, path, Options{Now: c.Now})
		sound(t, again)
		if got := located(t, again, "here"); !reflect.DeepEqual(got, want) || again.Outbox().Last != box.Last {
			t.Errorf("round %d: a torn commit left something behind", round)
		}
		commit(t, again, arrival("next", "here", c.Now()))
		sound(t, again)
	}
}

// transaction reads the number of the transaction that wrote a meta page.
func transaction(b []byte, page int) uint64 {
	const header, fields = 16, 48 // bytes before the meta, and before the number in it
	return binary.NativeEndian.Uint64(b[page+header+fields:])
}
