package group

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// load reads a file of this text, beside one "secret" with a token.
func load(t *testing.T, text string, only Only) (*Tree, error) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secret"), "a-token-in-a-file\n")
	path := filepath.Join(dir, "groups.yaml")
	write(t, path, text)
	return Load(path, only)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPlacesAreReadAsWritten(t *testing.T) {
	tree, err := load(t, `{"groups": [{"id": "g", "locations": ["hotel", "acme/hotel", "acme/a/b c", 0123, "far/*", {"account": "a/b", "location": "c/d"}, {"location": "x/y"}, "default/hotel"],
		"groups": [{"id": "in", "locations": ["acme/ö.*>"]}]}]}`, "default")
	if err != nil {
		t.Fatal(err)
	}
	want := []Place{{"default", "hotel"}, {"acme", "hotel"}, {"acme", "a/b c"}, {"default", "0123"}, {"far", "*"}, {"a/b", "c/d"}, {"default", "x/y"}}
	if got := tree.Find("g").Locations; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	set := tree.Find("g").Set()
	for p, in := range map[Place]bool{
		{"default", "hotel"}: true, {"hotel", "hotel"}: false, {"acme", "ö.*>"}: true, {"far", "anything"}: true, {"far", ""}: true,
		{"a", "b/c/d"}: false, {"a/b", "c/d"}: true, {"acme", "b c"}: false, {"default", "0123"}: true, {"default", "83"}: false,
	} {
		if set.Has(p.Account, p.Location) != in {
			t.Errorf("%v is in the group: %v", p, !in)
		}
	}
	if in := tree.Find("in").Set(); in.Has("acme", "hotel") || !in.Has("acme", "ö.*>") {
		t.Error("a group in another has its own locations alone")
	}
	if !(*Set)(nil).Has("any", "where") || NewSet().Has("any", "where") {
		t.Error("no set is every location, an empty one none")
	}
}

func TestTokensAreReferredTo(t *testing.T) {
	t.Setenv("TOKEN", "a-token-in-a-variable")
	tree, err := load(t, `
groups:
  - {id: top, locations: [a], groups: [{id: low, locations: [b]}]}
  - {id: other, locations: [c]}
tokens:
  - {name: variable, token: env:TOKEN, groups: [low, top], personal_data: true}
  - {name: file, token: file:secret, groups: [low, other]}
  - {name: digest, token: "sha256:7f5ae06cff63a4aec24b6d24b4b8b4b0f1b3d9a19d1a9b2b4d4a0d8f9d0e2a11", groups: [low]}
`, "default")
	if err != nil {
		t.Fatal(err)
	}
	g := tree.Bearer("a-token-in-a-variable")
	if g == nil || g.Name != "variable" || !g.Personal || len(g.Groups) != 1 || !g.Set().Has("default", "a") || !g.Set().Has("default", "b") || g.Set().Has("default", "c") {
		t.Errorf("%+v", g)
	}
	if g.Find("low") == nil || g.Find("other") != nil {
		t.Error("a group that is in one that may be seen may be seen, and no other")
	}
	if g = tree.Bearer("a-token-in-a-file"); g == nil || g.Personal || g.Set().Has("default", "a") || g.Find("top") != nil {
		t.Errorf("%+v", g)
	}
	for _, wrong := range []string{"", "a-token-in-a-variable ", "7f5ae06cff63a4aec24b6d24b4b8b4b0f1b3d9a19d1a9b2b4d4a0d8f9d0e2a11"} {
		if tree.Bearer(wrong) != nil {
			t.Errorf("%q is a token", wrong)
		}
	}
}

func TestErrorsNameLineAndRemedy(t *testing.T) {
	t.Setenv("TOKEN", "a-token-in-a-variable")
	t.Setenv("SHORT", "short")
	const one = "groups: [{id: a, locations: [x]}]\ntokens:\n  - "
	for _, c := range []struct {
		text string
		only Only
		want []string
	}{
		{"", "d", []string{"line 1: there are no groups"}},
		{"groups: []", "d", []string{"there are no groups"}},
		{"- a", "d", []string{"line 1: the file must be a mapping"}},
		{"group: []", "d", []string{`line 1: group: unknown field; did you mean groups?`}},
		{"groups:\n\t- id: a", "d", []string{"line 2: it is indented with a tab"}},
		{"groups:\n  - {id: a, location: [x]}", "d", []string{`line 2: group "a": location: unknown field; did you mean locations?`}},
		{"groups:\n  - {id: a b, locations: [x]}\n  - {name: c}", "d", []string{`line 2: group "a b": give it an id`, `line 3: group "": give it an id`}},
		{"groups:\n  - {id: a}\n  - {id: b, groups: [{id: a}]}", "d", []string{`line 3: group "a" is on line 2 already`}},
		{"groups:\n  - {id: a, locations: [x, y/z, /w, 'v/']}", "", []string{`item 1: "x" names no account, and there are several; write account/x`, "item 3: \"w\" names no account", "item 4: it names no location"}},
		{"groups:\n  - {id: a, locations: [/w, {locatoin: q}]}", "d", []string{"item 1: /w names no account; write d/w", `item 2: unknown field "locatoin"; did you mean location?`}},
		{"groups:\n  - {id: a, roaming: true, locations: [x], groups: [{id: b, roaming: yes}]}", "d", []string{`"yes" is neither true nor false`}},
		{"groups:\n  - {id: a, roaming: true, groups: [{id: b, locations: [x], roaming: true}]}", "d", []string{`group "b": roaming: group "a" has it`}},
		{"groups:\n  - {id: a, roaming: true, locations: [x]}\n  - {id: b, roaming: true, locations: [d/x, e/*]}", "d", []string{`line 3: group "b": roaming: d/x is in group "a" too`, "e/* is no list of locations"}},
		{"groups: &all\n  - id: a\n    groups: *all", "d", []string{"more than 16 deep"}},
		{one + "{name: n, token: s3cret-in-the-file, groups: [a]}", "d", []string{`line 3: token "n": token: a token has no place in this file; write env:NAME`}},
		{one + "{name: n, token: env:SHORT, groups: [a]}", "d", []string{"env:SHORT is shorter than 16 characters"}},
		{one + "{name: n, token: env:UNSET_HERE, groups: [a]}", "d", []string{`environment variable "UNSET_HERE" is not set`}},
		{one + "{name: n, token: 'sha256:12', groups: [a]}", "d", []string{"wants the 64 hexadecimal digits"}},
		{one + "{name: n, token: env:TOKEN, groups: [b]}", "d", []string{`there is no group "b"`}},
		{one + "{name: n, token: env:TOKEN, groups: []}", "d", []string{"a token without groups shows nothing"}},
		{one + "{token: env:TOKEN}", "d", []string{"it has no name", "it has no groups"}},
		{one + "{name: n, token: env:TOKEN, groups: [a]}\n  - {name: n, token: env:TOKEN, groups: [a], personal: true}", "d", []string{`line 4: token "n": personal: unknown field; did you mean personal_data?`}},
		{one + "{name: n, token: env:TOKEN, groups: [a]}\n  - {name: m, token: env:TOKEN, groups: [a]}", "d", []string{`line 4: token "m": it is the one of "n"; give each its own`}},
	} {
		_, err := load(t, c.text, c.only)
		if err == nil {
			t.Errorf("%s: no error", c.text)
			continue
		}
		for _, want := range append(c.want, "groups.yaml") {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s\n%v\nwant %s", c.text, err, want)
			}
		}
		for _, secret := range []string{"s3cret", "a-token-in"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error shows a token: %v", err)
			}
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "gone"), "d"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// TestChangesAreTakenOnceTheySettle: a file that is being written is not read, one that
// cannot be used changes nothing and is told of once, and one that is to be read at once is.
func TestChangesAreTakenOnceTheySettle(t *testing.T) {
	dir := t.TempDir()
	path, secret := filepath.Join(dir, "groups.yaml"), filepath.Join(dir, "token")
	write(t, secret, "the-first-token-of-all")
	write(t, path, "groups: [{id: a, locations: [x]}]\ntokens: [{name: n, token: file:token, groups: [a]}]")
	var log strings.Builder
	f, err := Open(path, func() Only { return "d" }, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	first, changed := f.Tree()
	unchanged := func(why string) {
		t.Helper()
		if now, _ := f.Tree(); now != first {
			t.Fatalf("%s: the groups have changed", why)
		}
	}
	f.look()
	f.look()
	unchanged("nothing was written")
	write(t, path, "groups: [{id: a, loc")
	f.look()
	write(t, path, "groups: [{id: a, locations: [x, y]}]")
	f.look()
	unchanged("two looks found different contents")
	if f.Fault() != nil {
		t.Errorf("what is being written is no fault: %v", f.Fault())
	}
	f.look()
	unchanged("a file that was cut short before its tokens would open everything")
	if f.Fault() == nil || strings.Count(log.String(), "level=ERROR") != 1 || !strings.Contains(log.String(), "it has no tokens any more") {
		t.Errorf("%v\n%s", f.Fault(), &log)
	}
	for _, bad := range []string{"", "groups: 7"} {
		write(t, path, bad)
		f.look()
		f.look()
		f.look()
		unchanged("a file that cannot be used")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f.look()
	f.look()
	unchanged("no file")
	if n := strings.Count(log.String(), "level=ERROR"); n != 4 {
		t.Errorf("%d errors are told of, want each once:\n%s", n, &log)
	}
	select {
	case <-changed:
		t.Error("the groups are said to have changed")
	default:
	}
	write(t, path, "groups: [{id: a, locations: [x, y]}]\ntokens: [{name: n, token: file:token, groups: [a]}]")
	f.Reload()
	select {
	case <-changed:
	default:
		t.Error("the change is not told of")
	}
	now, _ := f.Tree()
	if f.Fault() != nil || !now.Find("a").Set().Has("d", "y") || first.Find("a").Set().Has("d", "y") {
		t.Errorf("read at once: %v", f.Fault())
	}
	write(t, secret, "another-token-instead")
	f.look()
	f.look()
	if now, _ := f.Tree(); now.Bearer("the-first-token-of-all") != nil || now.Bearer("another-token-instead") == nil {
		t.Error("a change of a referred file is not seen")
	}
	if strings.Contains(log.String(), "token-") || strings.Contains(log.String(), "-token") {
		t.Errorf("the log shows a token:\n%s", &log)
	}
}

// TestExampleCanBeUsed: the file that people copy.
func TestExampleCanBeUsed(t *testing.T) {
	text, err := os.ReadFile("../../deploy/groups.yaml")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("ANNA_TOKEN", "a-token-in-a-variable")
	tree, err := load(t, strings.Replace(string(text), "file:wall-board.token", "file:secret", 1), "")
	if err != nil {
		t.Fatal(err)
	}
	anna := tree.Bearer("a-token-in-a-variable").Set()
	for p, in := range map[Place]bool{{"hotels", "oslo"}: true, {"hotels", "terminal-2"}: true, {"hotels", "rome"}: false, {"stadium", "oslo"}: false} {
		if anna.Has(p.Account, p.Location) != in {
			t.Errorf("Anna sees %v: %v", p, !in)
		}
	}
	if all := tree.Grants[2].Set(); !all.Has("stadium", "any") || !all.Has("hotels", "via/appia 7") || len(tree.Roaming()) != 1 {
		t.Errorf("%v", all.Places())
	}
}
