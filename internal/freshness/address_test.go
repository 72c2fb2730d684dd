package freshness

import (
	"fmt"
	"testing"
	"time"

	"github.com/guestflow/guestflow/internal/long"
	"github.com/guestflow/guestflow/internal/simulator"
)

// TestAddressesEndNobodyWhoIsOnline, whatever the look-up by address answers, and does
// not make ends later.
func TestAddressesEndNobodyWhoIsOnline(t *testing.T) {
	all := []simulator.AddressSharing{simulator.AddressesUnique, simulator.AddressesHalf, simulator.AddressesPerVenue}
	estate := func() simulator.Config {
		return simulator.Config{Stay: simulator.Stay{Mean: 15 * time.Minute, Sigma: 1}, Locations: simulator.Venues("venue-%d", 25, 30)}
	}
	run := Run{Order: simulator.NewestFirst, Seed: 3, Warmup: 15 * time.Minute, Horizon: 20 * time.Minute}
	bases := map[string]Row{}
	for _, c := range []struct {
		name, answers, base string
		edit                func(*simulator.Config)
		of                  float64 // the greatest part of the mean delay of ends without addresses
		sharing             []simulator.AddressSharing
	}{
		{name: "left out", of: 0.7, sharing: all},
		{answers: "404 for all", of: 1.1, sharing: all[:1]},
		{answers: "latest", of: 0.7, sharing: all},
		{answers: "stale", of: 1.05, sharing: all},
		{answers: "lasting", of: 1.1, sharing: all[:1]},
		{answers: "minutes", of: 0.75, sharing: all[:2]},
		{answers: "stale minutes", of: 1.1, sharing: all[:1]},
		{answers: "1 % wrong", of: 1.1, sharing: all},
		{answers: "1 % wrong, stale", of: 1.1, sharing: all[:1]},
		{"coarse starts", "", "coarse starts", func(cfg *simulator.Config) { cfg.StartGrain = time.Minute }, 0.75, all[:1]},
		{"addresses pass on", "", "addresses pass on", func(cfg *simulator.Config) { cfg.IPPool = 1200 }, 0.8, all[:1]},
		{"sessions change", "", "sessions change", func(cfg *simulator.Config) {
			cfg.ChangeProbability, cfg.MoveProbability, cfg.RoamProbability = 0.05, 0.01, 0.06
		}, 1.1, all[:1]},
	} {
		few := c.sharing[:1] // all of them where everything is answered
		if c.name == "left out" {
			few = c.sharing
		}
		for _, sharing := range long.Of(few, c.sharing) {
			t.Run(fmt.Sprint(c.name, c.answers, ", ", sharing), func(t *testing.T) {
				cfg := estate()
				if c.edit != nil {
					c.edit(&cfg)
				}
				run := run
				run.Config = &cfg
				base, ok := bases[c.base]
				if run.Policy = "adaptive"; !ok {
					base = do(t, run)
					bases[c.base] = base
				}
				cfg.Addresses, run.Policy, run.Answers = sharing, Checked, c.answers
				row := do(t, run)
				of := c.of
				switch sharing {
				case simulator.AddressesHalf:
					of = min(1.1, of+0.25)
				case simulator.AddressesPerVenue:
					of = 1.1
				}
				if row.EndMean > of*base.EndMean {
					t.Errorf("ends are seen after %.1f s, without addresses after %.1f s, want %.2f of that", row.EndMean, base.EndMean, of)
				}
				if row.Missed > 0 {
					t.Errorf("%d sessions were never seen", row.Missed)
				}
			})
		}
	}
}
