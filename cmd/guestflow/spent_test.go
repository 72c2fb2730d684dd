package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/guestflow/guestflow/internal/account"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller/platform"
)

// TestRunKeepsToTheLimitBehindCheck: what check asks counts, too, by the platform's own
// limiter, which opens its window with the first request.
func TestRunKeepsToTheLimitBehindCheck(t *testing.T) {
	for _, shared := range []bool{false, true} {
		for _, many := range []bool{false, true} {
			t.Run(fmt.Sprintf("shared limit %t, accounts file %t", shared, many), func(t *testing.T) { runBehindCheck(t, shared, many) })
		}
	}
}

func runBehindCheck(t *testing.T, shared, many bool) {
	var ahead atomic.Int64 // the platform's clock, of the machine's
	p := simulated{sim: simulator.New(simulator.Config{
		Token: "right", HasLocations: true, HasCount: true, SharedLimit: shared, Locations: simulator.Venues("venue-%d", 3, 60),
	}, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })}
	server := httptest.NewServer(p.sim)
	defer server.Close()
	p.url = server.URL
	variables := []string{"GUESTFLOW_DATA_DIR=" + filepath.Join(t.TempDir(), "new", "data"), fmt.Sprintf("GUESTFLOW_API_SHARED_LIMIT=%t", shared), "GUESTFLOW_LOCATIONS=venue-0"}
	if many {
		file := filepath.Join(t.TempDir(), "accounts.yaml")
		if err := os.WriteFile(file, []byte("accounts:\n  - {account: north, api_token: right}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		variables = append(variables, "GUESTFLOW_ACCOUNTS_FILE="+file, "GUESTFLOW_API_TOKEN=")
	}
	cfg := exported(t, &p, variables...)
	if code, out, errs := invoke("check"); code != 0 {
		t.Fatalf("exit code %d, %s%s", code, out, errs)
	}
	if found, err := checkWritable(cfg.DataDir); err != nil || !strings.HasSuffix(found, "empty of state") {
		t.Errorf("the data directory is taken for a used one: %s, %v", found, err)
	}
	a, err := newApp(t.Context(), cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	m := a.fleet.all()[0]
	if many {
		if err := m.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	budgets := m.open().Poller.Budgets
	asked := map[platform.Endpoint]simulator.Endpoint{
		platform.Sessions: simulator.EndpointSessions, platform.Count: simulator.EndpointCount, platform.Locations: simulator.EndpointLocations,
	}
	sent := 0
	for now, end := time.Now(), time.Now().Add(2*time.Minute); ; {
		next := slices.MinFunc([]platform.Endpoint{platform.Sessions, platform.Count, platform.Locations}, func(a, b platform.Endpoint) int {
			return cmp.Compare(budgets[a].Next(now).UnixNano(), budgets[b].Next(now).UnixNano())
		})
		now = budgets[next].Next(now)
		if now.After(end) {
			break
		}
		ended, _ := budgets[next].Take(now)
		if ended == nil {
			continue
		}
		ahead.Store(int64(time.Until(now)))
		if !p.sim.Allow(asked[next]).Allowed {
			t.Fatalf("request %d, for %s, is refused", sent+1, next)
		}
		ended(now, true)
		sent++
	}
	if least := 110; !shared && sent < 3*least || sent < least {
		t.Errorf("%d requests in two minutes", sent)
	}
}

// TestWhatSubjectAsksIsNoted as check's is, and never at its cost.
func TestWhatSubjectAsksIsNoted(t *testing.T) {
	p := simulate(t, simulator.Config{Token: "right"})
	cfg := settings(t, p)
	noted := func(name, dir string) int {
		t.Helper()
		cfg := cfg
		cfg.DataDir, cfg.Account = dir, name
		if _, _, err := askPlatform(t.Context(), cfg, []platform.Query{{GuestID: "nobody"}}, nil); err != nil {
			t.Errorf("in %s: %v", dir, err)
		}
		return strings.Count(string(account.Requests(dir, name)), `"s":`)
	}
	if n := noted("south", cfg.DataDir); n != 1 {
		t.Errorf("%d requests are noted, want 1", n)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	noted("south", file)
	nowhere := filepath.Join(t.TempDir(), "data")
	noted("south", nowhere)
	if _, err := os.Stat(nowhere); !os.IsNotExist(err) {
		t.Errorf("a data directory where none was: %v", err)
	}
	a, err := newApp(t.Context(), cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if n := noted(cfg.Account, cfg.DataDir); n != 0 {
		t.Errorf("%d requests are written into the log of a process that runs", n)
	}
}
