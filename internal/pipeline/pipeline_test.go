package pipeline

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/internal/figures"
)

func TestRowsAreMediansAndTheirRatios(t *testing.T) {
	r := row(RecordsPerS, 5, []float64{9, 1, 4}, []float64{1, 3}, nil)
	if *r.Guestflow != 4 || *r.Naive != 2 || *r.RatioNaive != 2 || r.Bare != nil || r.RatioBare != nil {
		t.Errorf("got %+v", r)
	}
	var b strings.Builder
	table := NewTable(&b)
	table.Row(r)
	if _, line, _ := strings.Cut(b.String(), "| --- |\n"); table.Err() != nil || line != "| records_per_s | 5 | 4.00 | 2.00 | – | 2.00 | – |\n" {
		t.Errorf("got %q, %v", line, table.Err())
	}
}

// TestTheFiguresOfThisFolder can be written again.
func TestTheFiguresOfThisFolder(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	begin, end := figures.Marks("bench pipeline")
	_, rest, begins := strings.Cut(string(text), begin)
	table, _, ends := strings.Cut(rest, end)
	if !begins || !ends {
		t.Fatal("README.md lacks the marks between which the figures stand")
	}
	var b strings.Builder
	NewTable(&b)
	if !strings.HasPrefix(table, b.String()) {
		t.Errorf("the table of README.md does not begin as the command's does:\n%s", b.String())
	}
}

func TestNaivePublishesWhatDiffers(t *testing.T) {
	t.Parallel()
	p := Plan{Dir: t.TempDir()}
	h, err := p.open(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	rounds := []string{
		`{"id":"a","location_id":"v","downloaded_data":"1 MB"},{"id":"b","location_id":"v"}`,
		`{"id":"a","location_id":"v","downloaded_data":"2.5 MB"},{"id":"c","location_id":"v"}`,
	}
	n := 0
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data := `{"id":"v"}`
		if r.URL.Path == "/sessions" {
			data = rounds[min(n, len(rounds)-1)]
			n++
		}
		_, _ = w.Write([]byte(`{"data":[` + data + `],"links":{"next":null}}`)) // The test fails by what comes.
	}))
	defer api.Close()
	done := make(chan error, 1)
	ctx, cancel := testContext(t)
	go func() { done <- Naive(ctx, api.URL, h.nats.URL(), filepath.Join(h.dir, "naive.db"), unlimited) }()
	for {
		if n, err := h.stored(ctx, naiveStream); err == nil && n >= 3 {
			break
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	s, err := h.js.Stream(t.Context(), naiveStream)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for seq := range s.CachedInfo().State.LastSeq {
		m, err := s.GetMsg(t.Context(), seq+1)
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, m.Subject)
	}
	if got := strings.Join(kinds, " "); got != "naive.v.traffic naive.v.started naive.v.ended" {
		t.Errorf("published %s", got)
	}
}

func testContext(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), time.Minute)
}
