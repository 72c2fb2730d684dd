package check

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/common"
	chartutil "helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

const chart = deploy + "/helm/guestflow"

func values(t *testing.T, file string) map[string]any {
	t.Helper()
	v := make(map[string]any)
	if err := yaml.UnmarshalStrict([]byte(read(t, file)), &v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return v
}

// render is what `helm template` writes, one text a file.
func render(t *testing.T, v map[string]any) (map[string]string, error) {
	t.Helper()
	c, err := loader.Load(chart)
	if err != nil {
		t.Fatal(err)
	}
	merged, err := chartutil.ToRenderValues(c, v, common.ReleaseOptions{Name: "venues", Namespace: "guests", Revision: 1, IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	out, err := engine.Engine{Strict: true}.Render(c, merged)
	if err != nil {
		return nil, err
	}
	rendered := make(map[string]string)
	for name, text := range out {
		if name = filepath.Base(name); strings.TrimSpace(text) != "" && strings.HasSuffix(name, ".yaml") {
			rendered[name] = strings.TrimSpace(text) + "\n"
		}
	}
	return rendered, nil
}

// TestChart: it renders to what is expected, and each object decodes as its kind with
// no field that the kind does not have.
func TestChart(t *testing.T) {
	for _, name := range []string{"least", "full", "accounts"} {
		t.Run(name, func(t *testing.T) {
			v := values(t, "testdata/"+name+".values.yaml")
			linted := lint.RunAll(chart, v, "guests")
			for _, m := range linted.Messages {
				if m.Severity > 1 { // information
					t.Errorf("helm lint: %v", m)
				}
			}
			rendered, err := render(t, v)
			if err != nil {
				t.Fatal(err)
			}
			var all strings.Builder
			for _, file := range slices.Sorted(maps.Keys(rendered)) {
				decode(t, file, rendered[file])
				if file == "dashboard.yaml" || file == "prometheusrule.yaml" {
					continue // compared with the files that they hold
				}
				all.WriteString("---\n# " + file + "\n" + rendered[file])
			}
			golden(t, "testdata/"+name+".golden.yaml", all.String())
			checkPod(t, rendered["statefulset.yaml"], rendered["configmap.yaml"])
		})
	}
}

func decode(t *testing.T, file, text string) {
	t.Helper()
	kinds := map[string]any{
		"statefulset.yaml": &appsv1.StatefulSet{}, "configmap.yaml": &corev1.ConfigMap{}, "dashboard.yaml": &corev1.ConfigMap{},
		"service.yaml": &corev1.Service{}, "serviceaccount.yaml": &corev1.ServiceAccount{}, "networkpolicy.yaml": &networkingv1.NetworkPolicy{},
		"poddisruptionbudget.yaml": &policyv1.PodDisruptionBudget{}, "servicemonitor.yaml": &monitoring.ServiceMonitor{},
		"podmonitor.yaml": &monitoring.PodMonitor{}, "prometheusrule.yaml": &monitoring.PrometheusRule{},
	}
	into, ok := kinds[file]
	if !ok {
		t.Errorf("%s: which kind is it?", file)
		return
	}
	if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
		t.Errorf("%s: %v\n%s", file, err, text)
	}
	if rules, ok := into.(*monitoring.PrometheusRule); ok {
		n := 0
		for _, g := range rules.Spec.Groups {
			n += len(g.Rules)
		}
		if n < 20 {
			t.Errorf("%d rules", n)
		}
	}
}

// checkPod: what the pod is given exists, and it is given no right that it can do
// without.
func checkPod(t *testing.T, set, config string) {
	t.Helper()
	var s appsv1.StatefulSet
	var c corev1.ConfigMap
	for text, into := range map[string]any{set: &s, config: &c} {
		if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	pod := s.Spec.Template.Spec
	container := pod.Containers[0]
	for k, v := range s.Spec.Selector.MatchLabels {
		if s.Spec.Template.Labels[k] != v {
			t.Errorf("the selector does not match: %s=%s", k, v)
		}
	}
	shared := slices.ContainsFunc(container.Env, func(e corev1.EnvVar) bool { return e.Name == "GUESTFLOW_LEASE" })
	if *s.Spec.Replicas > 1 && !shared || *pod.AutomountServiceAccountToken {
		t.Errorf("%d replicas, token mounted %v", *s.Spec.Replicas, *pod.AutomountServiceAccountToken)
	}
	if sc := container.SecurityContext; !*sc.ReadOnlyRootFilesystem || *sc.AllowPrivilegeEscalation || sc.Capabilities.Drop[0] != "ALL" || !*pod.SecurityContext.RunAsNonRoot {
		t.Errorf("security %+v, %+v", sc, pod.SecurityContext)
	}
	if container.LivenessProbe == nil || container.ReadinessProbe == nil || container.StartupProbe == nil || len(container.Resources.Requests) == 0 {
		t.Error("probes or resources are missing")
	}
	files := make(map[string]bool)
	for name := range c.Data {
		files["/etc/guestflow/config/"+name] = true
	}
	for _, v := range pod.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, source := range v.Projected.Sources {
			for _, item := range source.Secret.Items {
				files["/etc/guestflow/secrets/"+item.Path] = true
			}
		}
	}
	known, given := variables(t), make(map[string]bool)
	for _, e := range container.Env {
		if strings.HasPrefix(e.Name, "GUESTFLOW_") && !known[e.Name] {
			t.Errorf("%s is no variable", e.Name)
		}
		if given[e.Name] {
			t.Errorf("%s is given twice", e.Name)
		}
		given[e.Name] = true
		if strings.HasPrefix(e.Value, "/etc/guestflow/") && !files[e.Value] {
			t.Errorf("%s=%s is not mounted", e.Name, e.Value)
		}
	}
}

// TestChartRefuses what would not run, before anything is installed.
func TestChartRefuses(t *testing.T) {
	for what, change := range map[string]func(v map[string]any){
		"API_URL":  func(v map[string]any) { v["config"].(map[string]any)["API_URL"] = "" },
		"apiToken": func(v map[string]any) { delete(v["secrets"].(map[string]any), "apiToken") },
		"API_TOKEN": func(v map[string]any) {
			v["config"].(map[string]any)["API_TOKEN"] = "t0psecret"
		},
		"replicas": func(v map[string]any) { v["replicas"] = 2 },
		"lease":    func(v map[string]any) { v["accounts"] = map[string]any{"replicas": 2} },
		"token": func(v map[string]any) {
			v["groups"] = map[string]any{
				"tree":   []any{map[string]any{"id": "north", "locations": []any{"oslo"}}},
				"tokens": []any{map[string]any{"name": "anna", "token": "in-plain-sight-for-all-to-read", "groups": []any{"north"}}},
			}
		},
		"tree": func(v map[string]any) {
			v["groups"] = map[string]any{"tokens": []any{map[string]any{"name": "anna", "token": "env:ANNA", "groups": []any{"north"}}}}
		},
		"logLevel": func(v map[string]any) { v["logLevel"] = "loud" },
	} {
		v := values(t, "testdata/least.values.yaml")
		change(v)
		if _, err := render(t, v); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestChartHoldsTheSameRules, and the same dashboard: a chart cannot reach beyond its
// folder.
func TestChartHoldsTheSameRules(t *testing.T) {
	for copied, original := range map[string]string{"rules.yaml": "prometheus/rules.yaml", "dashboard.json": "grafana/dashboard.json"} {
		golden(t, chart+"/files/"+copied, read(t, deploy+"/"+original))
	}
	rendered, err := render(t, values(t, "testdata/full.values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var board corev1.ConfigMap
	if err := yaml.Unmarshal([]byte(rendered["dashboard.yaml"]), &board); err != nil {
		t.Fatal(err)
	}
	if board.Data["guestflow.json"] != read(t, deploy+"/grafana/dashboard.json") {
		t.Error("the dashboard of the ConfigMap is another")
	}
}

// configured is a file of the ConfigMap that testdata/full.values.yaml make.
func configured(t *testing.T, name string) (path string) {
	t.Helper()
	rendered, err := render(t, values(t, "testdata/full.values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var c corev1.ConfigMap
	if err := yaml.UnmarshalStrict([]byte(rendered["configmap.yaml"]), &c); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(c.Data[name]), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestGroupsOfTheChartAreUsable by the program.
func TestGroupsOfTheChartAreUsable(t *testing.T) {
	path := configured(t, "groups.yaml")
	t.Setenv("GUESTFLOW_ACCOUNT", "hotels")
	t.Setenv("ANNA_TOKEN", "7d0e8e44bc9d0bd9ba4b0a2b2b6ee1c1d0b4e6c35d3c4a0d5b7a9f0c8e11b2ec")
	out := tool(t, "", guestflow, "groups", "check", "--file", path)
	for _, want := range []string{"Northern Europe", "airport", "anna", "wall-board"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing: %s", want, out)
		}
	}
}

// TestEndpointsOfTheChartAreUsable by the program.
func TestEndpointsOfTheChartAreUsable(t *testing.T) {
	path := configured(t, "endpoints.yaml")
	t.Setenv("GUESTFLOW_GUESTS", "true") // as the pod has it
	t.Setenv("CRM_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if out := tool(t, "", guestflow, "webhooks", "check", "--file", path); !strings.Contains(out, "ok    crm: ") {
		t.Error(out)
	}
}
