package poller_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/poller/platform"
)

// TestDiscoveryEndsWhereNothingIsNew: a list of locations that is always full and
// ignores the page asked for.
func TestDiscoveryEndsWhereNothingIsNew(t *testing.T) {
	l := newLab(t, town(), adaptive)
	var records []string
	for i := range 100 {
		records = append(records, fmt.Sprintf(`{"id":"x%d","name":"Venue"}`, i))
	}
	body := `{"data":[` + strings.Join(records, ",") + `],"links":{"next":"http://platform.test/api/locations?page=2"}}`
	l.intercept = func(r *http.Request) *http.Response {
		if !strings.HasSuffix(r.URL.Path, "/locations") {
			return nil
		}
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
	}
	l.run(3 * time.Minute)
	if n := l.asked[platform.Locations]; n != 2 {
		t.Errorf("%d pages of locations were read, want 2", n)
	}
	if n := strings.Count(l.log.String(), "the list of locations repeats itself"); n != 1 {
		t.Errorf("%d warnings", n)
	}
}
