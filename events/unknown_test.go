package events

import (
	"strings"
	"testing"
)

// TestUnknownFiguresAreAbsent: zero is a figure, and no figure is none.
func TestUnknownFiguresAreAbsent(t *testing.T) {
	e := examples()[Started]
	e.Data.Session.Downloaded, e.Data.Session.Uploaded, e.Data.Session.DurationSeconds = UnknownBytes, Bytes{}, UnknownSeconds
	body, err := Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	text := string(body)
	for _, want := range []string{`"rounding":{"uploaded_bytes":0}`, `"uploaded_bytes":0`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing in %s", want, text)
		}
	}
	for _, name := range []string{"downloaded_bytes", "duration_seconds"} {
		if strings.Contains(text, name) {
			t.Errorf("%s is in %s", name, text)
		}
	}
	if err := compiled(t)["urn:guestflow:event:started:v1"].Validate(document(t, body)); err != nil {
		t.Error(err)
	}
	back, err := Decode(body)
	if err != nil || back.Data.Session != e.Data.Session {
		t.Errorf("%+v %v, want %+v", back.Data.Session, err, e.Data.Session)
	}
	null := strings.Replace(text, `"uploaded_bytes":0`, `"uploaded_bytes":null`, 1)
	if back, err := Decode([]byte(null)); err != nil || back.Data.Session.Uploaded != UnknownBytes {
		t.Errorf("null: %+v %v", back.Data.Session, err)
	}
}

// TestFirstFigureReplacesNone: what was not known has no old value, and counts as
// zero in the change.
func TestFirstFigureReplacesNone(t *testing.T) {
	e := examples()[Traffic]
	old := e.Data.Session
	old.Downloaded, old.Uploaded, old.DurationSeconds = UnknownBytes, UnknownBytes, UnknownSeconds
	e.Data.Previous = e.Data.Session.Replaced(&old)
	if p := e.Data.Previous; p == nil || *p != (Previous{}) {
		t.Fatalf("%+v", p)
	}
	body, err := Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	if err := compiled(t)["urn:guestflow:event:traffic:v1"].Validate(document(t, body)); err != nil {
		t.Error(err)
	}
}
