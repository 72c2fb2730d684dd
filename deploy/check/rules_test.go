package check

import (
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

const getPromtool = "apt-get install prometheus"

// alerts are those of the rules.
func alerts(t *testing.T) (all []monitoring.Rule) {
	t.Helper()
	var rules monitoring.PrometheusRuleSpec
	if err := yaml.UnmarshalStrict([]byte(read(t, deploy+"/prometheus/rules.yaml")), &rules); err != nil {
		t.Fatal(err)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Alert != "" {
				all = append(all, r)
			}
		}
	}
	if len(all) < 15 {
		t.Fatalf("%d alerts", len(all))
	}
	return all
}

// TestRules: promtool takes them, and their tests pass.
func TestRules(t *testing.T) {
	tool(t, getPromtool, "promtool", "check", "rules", deploy+"/prometheus/rules.yaml")
	tool(t, getPromtool, "promtool", "check", "config", deploy+"/prometheus/prometheus.yml")
	tool(t, getPromtool, "promtool", "test", "rules", deploy+"/prometheus/rules_test.yaml")
}

// TestEveryAlertIsTestedAndExplained: it fires, it keeps quiet, and the runbook says
// what to do.
func TestEveryAlertIsTestedAndExplained(t *testing.T) {
	tests, runbook := read(t, deploy+"/prometheus/rules_test.yaml"), read(t, deploy+"/runbook.md")
	for _, a := range alerts(t) {
		if !strings.Contains(tests, "\n      - alertname: "+a.Alert+"\n") {
			t.Errorf("%s: no test fires it", a.Alert)
		}
		if !strings.Contains(tests, "[{alertname: "+a.Alert+", ") {
			t.Errorf("%s: no test keeps it quiet", a.Alert)
		}
		if !strings.Contains(runbook, "\n## "+a.Alert+"\n") || !strings.HasSuffix(a.Annotations["runbook_url"], "/deploy/runbook.md#"+strings.ToLower(a.Alert)) {
			t.Errorf("%s: no entry in the runbook, or none that is linked: %s", a.Alert, a.Annotations["runbook_url"])
		}
		if a.Labels["severity"] == "" || a.Annotations["summary"] == "" {
			t.Errorf("%s: no severity or summary", a.Alert)
		}
	}
}
