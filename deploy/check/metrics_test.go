package check

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
)

// scraped are the names of the metrics that the program has, each with its labels.
type scraped map[string]map[string]bool

// scrape runs the program with everything that it can do, against a platform that also
// sends what cannot be read, until it has published and sent something.
func scrape(t *testing.T) scraped {
	t.Helper()
	endpoints := filepath.Join(t.TempDir(), "endpoints.yaml")
	text := "endpoints:\n  - {name: crm, url: 'http://127.0.0.1:1', secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw], allow_private: true}\n"
	if err := os.WriteFile(endpoints, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := freeAddress(t)
	demo := exec.Command(guestflow, "demo", "--fault", "damaged:1h@1s")
	demo.Env = append(os.Environ(), "TMPDIR="+t.TempDir(), "GUESTFLOW_HTTP_ADDR="+addr, "GUESTFLOW_NATS_LISTEN=127.0.0.1:0",
		"GUESTFLOW_GUESTS=true", "GUESTFLOW_WEBHOOKS_FILE="+endpoints)
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = demo.Process.Signal(syscall.SIGTERM)
		_ = demo.Wait()
	}()
	await(t, "http://"+addr+"/healthz")
	wanted := []string{
		"guestflow_webhook_tries_total", "guestflow_guest_lookups_total", "guestflow_detection_delay_seconds", "guestflow_fields_unreadable_total",
		"guestflow_census_sessions", "guestflow_events_total", "guestflow_webhook_dead_letters", "guestflow_staleness_seconds",
	}
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(90 * time.Second)
	for {
		found := scrapeOnce(t, "http://"+addr+"/metrics")
		missing := ""
		for _, name := range wanted {
			if found[name] == nil && found[name+"_bucket"] == nil {
				missing += " " + name
			}
		}
		if missing == "" {
			return found
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("never seen:%s", missing)
		}
	}
}

func scrapeOnce(t *testing.T, url string) scraped {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	textParser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := textParser.TextToMetricFamilies(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	found := make(scraped)
	for name, f := range families {
		has := map[string]bool{"job": true, "instance": true}
		for _, m := range f.Metric {
			for _, l := range m.Label {
				has[l.GetName()] = true
			}
		}
		if len(f.Metric) > 0 && f.Metric[0].Histogram != nil {
			found[name+"_sum"], found[name+"_count"] = has, has
			name += "_bucket"
			has = withLabel(has, "le")
		}
		found[name] = has
	}
	return found
}

func withLabel(has map[string]bool, name string) map[string]bool {
	more := map[string]bool{name: true}
	for l := range has {
		more[l] = true
	}
	return more
}

// query reports what an expression asks for that nobody has: metrics, labels that it
// selects by, and labels that it groups by.
func (s scraped) query(t *testing.T, where, expr string) {
	t.Helper()
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Errorf("%s: %s: %v", where, expr, err)
		return
	}
	selectors := 0
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			selectors++
			s.selector(t, where, n)
		case *parser.AggregateExpr:
			for _, l := range n.Grouping {
				if !s.anyHas(n.Expr, l) {
					t.Errorf("%s: %s: nothing in it has the label %s", where, expr, l)
				}
			}
		}
		return nil
	})
	if selectors == 0 {
		t.Errorf("%s: %s asks for nothing", where, expr)
	}
}

func (s scraped) selector(t *testing.T, where string, n *parser.VectorSelector) {
	t.Helper()
	has := s[n.Name]
	if has == nil && n.Name != "up" {
		t.Errorf("%s: there is no metric %s", where, n.Name)
		return
	}
	for _, m := range n.LabelMatchers {
		if n.Name != "up" && m.Name != labels.MetricName && !has[m.Name] {
			t.Errorf("%s: %s has no label %s", where, n.Name, m.Name)
		}
	}
}

func (s scraped) anyHas(expr parser.Expr, label string) (found bool) {
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if n, ok := node.(*parser.VectorSelector); ok && s[n.Name][label] {
			found = true
		}
		return nil
	})
	return found
}

// TestQueriesAskForWhatTheProgramHas: rules and dashboard, against a scrape of the
// real process.
func TestQueriesAskForWhatTheProgramHas(t *testing.T) {
	has := scrape(t)
	var rules monitoring.PrometheusRuleSpec
	if err := yaml.UnmarshalStrict([]byte(read(t, deploy+"/prometheus/rules.yaml")), &rules); err != nil {
		t.Fatal(err)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			has.query(t, r.Alert+r.Record, r.Expr.String())
			if r.Record != "" { // later ones may ask for it
				has[r.Record] = map[string]bool{"account": true, "kind": true, "endpoint": true, "instance": true, "job": true}
			}
		}
	}
	var board struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct {
				Name  string
				Query any
			}
		}
	}
	if err := json.Unmarshal([]byte(read(t, deploy+"/grafana/dashboard.json")), &board); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, p := range board.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
		for _, q := range p.Targets {
			asked++
			has.query(t, "panel "+p.Title, strings.NewReplacer("$__rate_interval", "5m", "$account", "x").Replace(q.Expr))
		}
	}
	if asked < 30 || !strings.Contains(fmt.Sprint(board.Templating.List), "label_values(guestflow_nats_connected, account)") || !has["guestflow_nats_connected"]["account"] {
		t.Errorf("%d queries, variables %v", asked, board.Templating.List)
	}
	if build := has["guestflow_build_info"]; !build["version"] || !build["goversion"] {
		t.Errorf("guestflow_build_info has %v", build)
	}
}
