package visit

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/forgotten"
)

const forgetKey = "0123456789abcdef"

// TestForgottenVisitsGoOnAsNobodys: in the state, in the checkpoint and in what is
// published from then on, while the visits of all others are what they were.
func TestForgottenVisitsGoOnAsNobodys(t *testing.T) {
	t.Parallel()
	told, all := crowd(rand.New(rand.NewPCG(4, 5)), 8, 30)
	tr := newTrial(t, told.messages())
	list := forgotten.NewList(forgetKey)
	settings := tr.settings()
	settings.Forgotten = list
	s, stop := tr.startWith(settings)
	tr.publish(len(tr.list) / 2)
	until(t, "half of it is in", tr.reached(s))
	who := ""
	for i := range tr.list[:tr.sent] {
		if g := tr.list[i].Event.Data.Session.GuestID; g != "" && tr.list[i].Event.Data.Session.Online {
			who = g // of the latest
		}
	}
	list.Add([]string{forgotten.KeyMark(forgetKey), forgotten.Mark(forgetKey, forgotten.GuestID, "", who)})
	if err := s.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if tr.inCheckpoint(who) {
		t.Error("the checkpoint names whom it forgot")
	}
	before := len(tr.stored())
	// The last event that was read is deleted, as those of the person are.
	input, err := tr.js.Stream(t.Context(), events.DefaultStream)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if err := input.DeleteMsg(t.Context(), uint64(tr.sent)); err != nil {
		t.Fatal(err)
	}
	s, stop = tr.startWith(settings)
	tr.publish(len(tr.list))
	out := tr.ended(s)
	stop()
	for _, o := range out[before:] {
		if o.Event.Data.Visit.GuestID == who {
			t.Errorf("%s names whom it forgot", o.Event.Kind)
		}
	}
	got := checked(t, out)
	for k, w := range expected(all, 1800) {
		if w.guest == who {
			continue
		}
		if v := got[k].Data.Visit; !v.EndedAt.Equal(w.to) || v.Sessions != w.sessions || v.DownloadedBytes != w.bytes {
			t.Errorf("another guest's visit is %+v, want %+v", v, w)
		}
	}
	list.Add([]string{forgotten.Mark(forgetKey, forgotten.MAC, "", "none")})
	if changed, err := ForgetSaved(t.Context(), tr.js, settings); err != nil || changed {
		t.Errorf("the checkpoint still had something of the person: %v, %v", changed, err)
	}
}

// inCheckpoint reports whether the stored checkpoint has a text.
func (tr *trial) inCheckpoint(text string) bool {
	tr.t.Helper()
	var saved []byte
	until(tr.t, "a checkpoint that is not being replaced", func() bool {
		saved = tr.checkpointBytes()
		return saved != nil
	})
	r, err := gzip.NewReader(bytes.NewReader(saved))
	if err != nil {
		tr.t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil || !json.Valid(b) {
		tr.t.Fatal(err)
	}
	return bytes.Contains(b, []byte(`"`+text+`"`))
}
