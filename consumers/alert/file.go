package alert

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/guestflow/guestflow/events/alerts"
	"github.com/guestflow/guestflow/internal/group"
	"github.com/guestflow/guestflow/internal/handwritten"
)

// Defaults of what the file need not say.
const (
	DefaultStale   = 5 * time.Minute
	DefaultHold    = 2 * time.Minute
	DefaultAtLeast = 10
)

// Load reads and checks a rules file, YAML or JSON. The error names the file and the line
// of everything that is wrong. groups are those that there are; nil is none.
func Load(path string, groups *group.Tree) (Rules, error) {
	data, err := handwritten.ReadFile(path)
	return parseFile(path, data, err, groups)
}

// parseFile parses what came of reading a file.
func parseFile(path string, data []byte, err error, groups *group.Tree) (Rules, error) {
	if err != nil {
		return Rules{}, fmt.Errorf("alerts: %w; give the path of an existing file", err)
	}
	rules, err := Parse(data, groups)
	if err != nil {
		return Rules{}, fmt.Errorf("alerts file %s: %w", path, err)
	}
	return rules, nil
}

// Parse reads what a rules file holds.
func Parse(data []byte, groups *group.Tree) (Rules, error) {
	text, err := handwritten.Decoded(data)
	if err != nil {
		return Rules{}, err
	}
	doc, err := handwritten.ReadDocument([]byte(text), "alerts")
	if err != nil {
		return Rules{}, err
	}
	r := reader{Document: doc, rules: Rules{Stale: DefaultStale}, groups: groups, zone: time.UTC, lines: map[string]int{}}
	r.file()
	slices.SortStableFunc(r.faults, func(a, b fault) int { return cmp.Compare(a.line, b.line) })
	var errs []error
	for _, f := range r.faults {
		errs = append(errs, fmt.Errorf("line %d: %w", f.line, f.err))
	}
	return r.rules, errors.Join(errs...)
}

type fault struct {
	line int
	err  error
}

// reader turns the file's tree into rules.
type reader struct {
	handwritten.Document
	rules  Rules
	groups *group.Tree
	zone   *time.Location
	lines  map[string]int // of the rules' names
	faults []fault
}

func (r *reader) wrong(line int, format string, args ...any) {
	r.faults = append(r.faults, fault{line, fmt.Errorf(format, args...)})
}

var fileFields = []string{"zone", "stale", "alerts"}

func (r *reader) file() {
	if r.Root == nil {
		return
	}
	members, ok := r.Members(r.Root, 0)
	if !ok {
		r.wrong(handwritten.LineOf(r.Root), `the file must be a mapping; begin it with "alerts:"`)
		return
	}
	seen := map[string]int{}
	var entries []ast.Node
	for _, m := range members {
		err := m.Once(seen)
		switch m.Name {
		case "zone":
			var name string
			if name, err = r.Text(m.Value); err == nil {
				if r.zone, err = time.LoadLocation(name); err != nil {
					err = fmt.Errorf("%q is no time zone; write one such as Europe/Istanbul", name)
				}
			}
		case "stale":
			err = r.duration(m.Value, time.Second, &r.rules.Stale)
		case "alerts":
			entries, err = r.List(m.Value)
		default:
			err = fmt.Errorf("unknown field %q%s", m.Name, handwritten.DidYouMean(m.Name, fileFields))
		}
		if err != nil {
			r.wrong(m.Line, "%s: %w", m.Name, err)
		}
	}
	for _, n := range entries {
		r.rule(n)
	}
}

func (r *reader) duration(n ast.Node, least time.Duration, into *time.Duration) error {
	text, err := r.Text(n)
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < least {
		return fmt.Errorf("%q: use a duration of %v or more, such as 2m", text, least)
	}
	*into = d
	return nil
}

var ruleFields = []string{"name", "above", "below", "busier", "silent", "figure", "clear", "at_least", "hold", "locations", "accounts", "groups", "hours"}

// rule reads one entry.
func (r *reader) rule(n ast.Node) {
	members, ok := r.Members(n, 0)
	line := handwritten.LineOf(n)
	if !ok || len(members) == 0 {
		r.wrong(line, `an alert must be a mapping; begin it with "name:"`)
		return
	}
	line = members[0].Line
	rule := Rule{Hold: DefaultHold, AtLeast: DefaultAtLeast, Hours: Hours{Zone: r.zone}}
	seen := map[string]int{}
	var clear *float64
	faults := len(r.faults)
	for _, m := range members {
		err := m.Once(seen)
		if err == nil {
			err = r.field(&rule, m, &clear)
		}
		if err != nil {
			r.wrong(m.Line, "alert %q: %s: %w", rule.Name, m.Name, err)
		}
	}
	_, own := seen["at_least"]
	if err := rule.complete(clear, own); err != nil {
		if len(r.faults) == faults { // else it may follow from what was said
			r.wrong(line, "alert %q: %w", rule.Name, err)
		}
		return
	}
	if first, twice := r.lines[rule.Name]; twice {
		r.wrong(line, "alert %q is on line %d already; names must be unique", rule.Name, first)
	}
	r.lines[rule.Name] = line
	r.rules.Rules = append(r.rules.Rules, rule)
}

// field reads one field of an entry.
func (r *reader) field(rule *Rule, m handwritten.Member, clear **float64) (err error) {
	switch m.Name {
	case "name":
		rule.Name, err = r.Text(m.Value)
	case "above", "below", "busier", "silent":
		err = r.threshold(rule, m)
	case "figure":
		if rule.Figure, err = r.Text(m.Value); err == nil && !slices.Contains([]string{"online", "devices", "guests"}, rule.Figure) {
			err = fmt.Errorf("%q: use online, devices or guests", rule.Figure)
		}
	case "clear":
		*clear, err = r.Decimal(m.Value)
	case "at_least":
		var v *int
		if v, err = r.Whole(m.Value); err == nil && v != nil {
			rule.AtLeast = *v
		}
	case "hold":
		err = r.duration(m.Value, 0, &rule.Hold)
	case "locations":
		rule.Locations, err = r.globs(m.Value)
	case "accounts":
		rule.Accounts, err = r.Texts(m.Value)
	case "groups":
		rule.Groups, rule.in, err = r.inGroups(m.Value)
	case "hours":
		rule.Hours.Spans, err = r.spans(m.Value)
	default:
		err = fmt.Errorf("unknown field%s", handwritten.DidYouMean(m.Name, ruleFields))
	}
	return err
}

// threshold reads what a rule watches for.
func (r *reader) threshold(rule *Rule, m handwritten.Member) error {
	if rule.What != "" {
		return fmt.Errorf("there is %s already; write one of above, below, busier and silent, and another alert for the other", rule.What)
	}
	rule.What = alerts.What(m.Name)
	v, err := r.Decimal(m.Value)
	if err == nil && v == nil {
		err = errors.New("give a number")
	}
	if err == nil {
		rule.Threshold = *v
	}
	return err
}

func (r *reader) globs(n ast.Node) ([]string, error) {
	globs, err := r.Texts(n)
	for _, glob := range globs {
		if _, bad := path.Match(glob, ""); bad != nil {
			err = fmt.Errorf("%q is no pattern; * stands for any text, ? for a character, [ab] for one of them", glob)
		}
	}
	return globs, err
}

// inGroups reads ids of groups, and returns their locations; nil where there are none.
func (r *reader) inGroups(n ast.Node) (ids []string, in *group.Set, err error) {
	if ids, err = r.Texts(n); err != nil || len(ids) == 0 {
		return nil, nil, err
	}
	if r.groups == nil {
		return nil, nil, errors.New("there is no file of groups; set GUESTFLOW_GROUPS_FILE")
	}
	in, unknown := r.groups.Of(ids...)
	if unknown != "" {
		return nil, nil, fmt.Errorf("there is no group %q%s", unknown, handwritten.DidYouMean(unknown, r.groups.IDs()))
	}
	return ids, in, nil
}

func (r *reader) spans(n ast.Node) (spans []Span, err error) {
	texts, err := r.Texts(n)
	for _, text := range texts {
		s, bad := span(text)
		err = errors.Join(err, bad)
		spans = append(spans, s)
	}
	return spans, err
}

// complete fills in what depends on other fields, and says what cannot work. clear and
// atLeast tell what the entry says of these fields.
func (r *Rule) complete(clear *float64, atLeast bool) error {
	var standard float64
	figure := "online"
	switch {
	case r.Name == "":
		return errors.New("give it a name")
	case r.What == "":
		return errors.New("say what it watches for: above, below, busier or silent, with a number")
	case r.What == alerts.Above && r.Threshold < 1, r.What == alerts.Silent && r.Threshold < 1, r.What == alerts.Below && r.Threshold < 0:
		return fmt.Errorf("%s: %v is too small", r.What, r.Threshold)
	case r.What == alerts.Busier && r.Threshold <= 1:
		return fmt.Errorf("busier: %v: give a factor above 1; 1.5 is half as many again as usual", r.Threshold)
	case r.What == alerts.Above:
		standard, figure = 0.9*r.Threshold, "devices"
	case r.What == alerts.Below:
		standard, figure = r.Threshold+1, "devices"
	case r.What == alerts.Busier:
		standard = (1 + r.Threshold) / 2
	}
	baseline := r.What == alerts.Busier || r.What == alerts.Silent
	if baseline && r.Figure != "" && r.Figure != figure {
		return fmt.Errorf("figure: what is usual is known of sessions online alone; leave figure out of %s", r.What)
	}
	if atLeast && (r.What != alerts.Busier || r.AtLeast < 0) {
		return fmt.Errorf("at_least: %d: only busier has it, with 0 or more", r.AtLeast)
	}
	r.Figure, r.Clear = cmp.Or(r.Figure, figure), standard
	if clear == nil {
		return nil
	}
	if r.Clear = *clear; r.What == alerts.Silent {
		return errors.New("clear: the first guest clears it; leave clear out of silent")
	}
	if r.What != alerts.Below && r.Clear <= 0 {
		return fmt.Errorf("clear: %v is never fallen below: the alert would stay for ever", r.Clear)
	}
	if r.What == alerts.Below && r.Clear <= r.Threshold || r.What != alerts.Below && r.Clear >= r.Threshold {
		return fmt.Errorf("clear: %v is not on the other side of %v: the alert would come and go", r.Clear, r.Threshold)
	}
	return nil
}
