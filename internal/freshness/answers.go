package freshness

import (
	"fmt"
	"strings"
	"time"

	"github.com/guestflow/guestflow/internal/simulator"
)

// answers are what a look-up by address may say, other than the documented.
var answers = []struct {
	name string
	edit func(*simulator.Config)
}{
	{"404 for all", func(cfg *simulator.Config) { cfg.AddressGone = simulator.GoneNotFound }},
	{"latest", func(cfg *simulator.Config) { cfg.AddressGone = simulator.GoneLatest }},
	{"stale", func(cfg *simulator.Config) { cfg.AddressGone = simulator.GoneStale }},
	{"lasting", func(cfg *simulator.Config) { cfg.AddressGone = simulator.GoneLasting }},
	{"minutes", func(cfg *simulator.Config) { cfg.AddressGrain = time.Minute }},
	{"stale minutes", func(cfg *simulator.Config) {
		cfg.AddressGrain, cfg.AddressGone = time.Minute, simulator.GoneStale
	}},
	{"1 % wrong", func(cfg *simulator.Config) { cfg.AddressLies = 0.01 }},
	{"1 % wrong, stale", func(cfg *simulator.Config) { cfg.AddressLies, cfg.AddressGone = 0.01, simulator.GoneStale }},
}

// AnswerNames are what the look-up by address may say, beside the documented: who is gone
// is left out.
func AnswerNames() []string {
	var names []string
	for _, a := range answers {
		names = append(names, a.name)
	}
	return names
}

// answer has the platform's look-up by address answer so.
func answer(cfg *simulator.Config, name string) error {
	if name == "" {
		return nil
	}
	for _, a := range answers {
		if a.name == name {
			a.edit(cfg)
			return nil
		}
	}
	return fmt.Errorf("answers %q of the look-up by address are not known; use one of: %s", name, strings.Join(AnswerNames(), ", "))
}
