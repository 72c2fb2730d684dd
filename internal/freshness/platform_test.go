package freshness

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/internal/virtual"
	"github.com/guestflow/guestflow/poller/platform"
)

// TestTiesAreThoseOfHTTP: what the benchmark polls stands in the order in which a
// client over HTTP would read it.
func TestTiesAreThoseOfHTTP(t *testing.T) {
	for _, estate := range []string{"E9", "E10"} {
		for _, order := range []simulator.Order{simulator.NewestFirst, simulator.OldestFirst, simulator.Unordered} {
			t.Run(fmt.Sprint(estate, order), func(t *testing.T) {
				cfg, err := simulator.Estate(estate)
				if err != nil {
					t.Fatal(err)
				}
				cfg.Order, cfg.RateLimit = order, -1
				clk := virtual.New(epoch)
				defer clk.Finish()
				// The one answers half-way through a request, the other at once.
				sim := simulator.New(cfg, func() time.Time { return epoch })
				w := &wire{sim: sim, clock: clk, random: luck(1), requests: make(map[simulator.Endpoint][]time.Time)}
				online := true
				for n := 1; n <= 30; n++ {
					page, err := w.Sessions(t.Context(), platform.Query{Online: &online, PerPage: 100, Page: n})
					if err != nil {
						t.Fatal(err)
					}
					rec := httptest.NewRecorder()
					sim.ServeHTTP(rec, httptest.NewRequest("GET", fmt.Sprintf("/sessions?online=true&per_page=100&page=%d", n), nil))
					var body struct{ Data []struct{ ID string } }
					if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
						t.Fatal(err)
					}
					var direct, over []string
					for _, s := range page.Sessions {
						direct = append(direct, s.ID)
					}
					for _, r := range body.Data {
						over = append(over, r.ID)
					}
					if !slices.Equal(direct, over) {
						t.Fatalf("page %d: %d records in process, %d over HTTP, in another order", n, len(direct), len(over))
					}
				}
			})
		}
	}
}

func TestPlansHaveAllEstates(t *testing.T) {
	for name, plan := range map[string]Plan{"full": Full(), "short": Short()} {
		for _, estate := range []string{"E1", "E8", "E9", "E10"} {
			if !slices.Contains(plan.Estates, estate) {
				t.Errorf("%s leaves out %s", name, estate)
			}
		}
	}
}
