package simulator

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestLogReadsBack(t *testing.T) {
	c, cfg := newClock(), small()
	var want []Truth
	var text strings.Builder
	l := NewLog(&text)
	cfg.Truth = func(x Truth) {
		want = append(want, x)
		l.Record(x)
	}
	s := New(cfg, c.now)
	s.List(Query{Online: Online})
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	got, err := ReadTruth(strings.NewReader(text.String() + `{"kind":"start","ti`))
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d of %d records, %v", len(got), len(want), err)
	}
	for i := range want {
		a, b := got[i], want[i]
		if !a.Time.Equal(b.Time) || a.Kind != b.Kind || a.Session != b.Session || a.Downloaded != b.Downloaded || !slices.Equal(a.Online, b.Online) {
			t.Fatalf("%+v, want %+v", a, b)
		}
	}
	if _, err := ReadTruth(strings.NewReader("{}\nnonsense\n{}\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("damaged log: %v", err)
	}
	full := NewLog(brokenWriter{})
	full.Record(Truth{})
	if err := full.Flush(); !errors.Is(err, errFull) {
		t.Errorf("full disk: %v", err)
	}
}

var errFull = errors.New("no space left")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errFull }
