package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// module is one with a test that passes, one that is skipped, and one more.
func module(t *testing.T, more string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod":    "module example.com/m\n\ngo 1.24\n",
		"m_test.go": "package m\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nfunc TestPasses(t *testing.T) {}\n\nfunc TestNeeds(t *testing.T) {\n\tif os.Getenv(\"GUESTFLOW_NODE\") != \"1\" {\n\t\tt.Skip(\"needs Node.js: set GUESTFLOW_NODE=1\")\n\t}\n}\n\nfunc TestMore(t *testing.T) {" + more + "}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

// output is what run says.
func output(t *testing.T, require bool) (code int, text string) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = f, f
	code = run(require, nil)
	os.Stdout, os.Stderr = stdout, stderr
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return code, string(b)
}

// TestWhatIsLeftOutIsTold: it passes without, and fails where everything is
// required.
func TestWhatIsLeftOutIsTold(t *testing.T) {
	t.Setenv("GUESTFLOW_NODE", "")
	for _, c := range []struct {
		more    string
		require bool
		code    int
		told    []string
	}{
		{"", false, 0, []string{"ok  \texample.com/m", "TestNeeds", "set GUESTFLOW_NODE=1", "-require"}},
		{"", true, 0, []string{"Nothing was left out."}},
		{`t.Skip("needs a second machine")`, true, 1, []string{"TestMore", "needs a second machine", "nothing may be left out"}},
		{`t.Error("seven is eight")`, false, 1, []string{"seven is eight", "FAIL\texample.com/m"}},
		{`t.Error("seven is eight"); t.Output().Write([]byte("log"))`, false, 1, []string{"FAIL: example.com/m.TestMore\n    m_test.go:16: seven is eight\nFAIL: exit status 1"}},
		{`seven`, false, 1, []string{"undefined: seven"}},
	} {
		module(t, c.more)
		code, text := output(t, c.require)
		if code != c.code {
			t.Errorf("%+v: exit code %d", c, code)
		}
		for _, told := range c.told {
			if !strings.Contains(text, told) {
				t.Errorf("%+v: nothing about %q in\n%s", c, told, text)
			}
		}
	}
}
