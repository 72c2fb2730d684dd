package group

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/guestflow/guestflow/internal/handwritten"
)

// Only is the account of locations that are written without one; empty where there are
// several.
type Only string

// Load reads and checks a groups file, YAML or JSON. The error names the file and the line
// of everything that is wrong, and never shows a token.
func Load(path string, only Only) (*Tree, error) {
	l := &loader{path: path, only: only}
	return l.load()
}

// load reads the file, and notes which files it refers to.
func (l *loader) load() (*Tree, error) {
	data, err := handwritten.ReadFile(l.path)
	if err != nil {
		return nil, fmt.Errorf("groups: %w; give the path of an existing file", err)
	}
	tree, err := l.parse(data)
	if err != nil {
		return nil, fmt.Errorf("groups file %s: %w", l.path, err)
	}
	return tree, nil
}

// loader turns the file into a tree.
type loader struct {
	handwritten.Document
	path   string
	only   Only
	files  []string // referred to so far
	tree   *Tree
	lines  map[string]int // of the groups' ids
	faults []fault
}

type fault struct {
	line int
	err  error
}

func (l *loader) wrong(line int, format string, args ...any) {
	l.faults = append(l.faults, fault{line, fmt.Errorf(format, args...)})
}

func (l *loader) parse(data []byte) (*Tree, error) {
	text, err := handwritten.Decoded(data)
	if err != nil {
		return nil, err
	}
	if l.Document, err = handwritten.ReadDocument([]byte(text), "groups"); err != nil {
		return nil, err
	}
	l.tree, l.lines = &Tree{ids: map[string]*Group{}}, map[string]int{}
	l.file()
	if len(l.faults) == 0 && len(l.tree.Groups) == 0 {
		l.wrong(1, `there are no groups; begin with "groups:" and the first one's id, or leave GUESTFLOW_GROUPS_FILE out`)
	}
	slices.SortStableFunc(l.faults, func(a, b fault) int { return cmp.Compare(a.line, b.line) })
	var errs []error
	for _, f := range l.faults {
		errs = append(errs, fmt.Errorf("line %d: %w", f.line, f.err))
	}
	return l.tree, errors.Join(errs...)
}

func (l *loader) file() {
	if l.Root == nil {
		return
	}
	members, ok := l.Members(l.Root, 0)
	if !ok {
		l.wrong(handwritten.LineOf(l.Root), `the file must be a mapping; begin it with "groups:"`)
		return
	}
	seen := map[string]int{}
	var groups, tokens []ast.Node
	for _, m := range members {
		err := m.Once(seen)
		switch {
		case err != nil:
		case m.Name == "groups":
			groups, err = l.List(m.Value)
		case m.Name == "tokens":
			tokens, err = l.List(m.Value)
		default:
			err = fmt.Errorf("unknown field%s", handwritten.DidYouMean(m.Name, []string{"groups", "tokens"}))
		}
		if err != nil {
			l.wrong(m.Line, "%s: %w", m.Name, err)
		}
	}
	for _, n := range groups {
		if g := l.group(n, 1); g != nil {
			l.tree.Groups = append(l.tree.Groups, g)
		}
	}
	for _, g := range l.tree.Groups {
		g.gather()
	}
	l.roaming(l.tree.Groups, "", map[Place]string{})
	for _, n := range tokens {
		l.grant(n)
	}
}

// deepest is how far groups may be in one another: it ends those that contain themselves.
const deepest = 16

var groupFields = []string{"id", "name", "locations", "groups", "roaming"}

// ids may stand in addresses, commands and expressions as they are.
var ids = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// group reads one group and all in it.
func (l *loader) group(n ast.Node, depth int) *Group {
	members, ok := l.Members(n, 0)
	line := handwritten.LineOf(n)
	switch {
	case !ok || len(members) == 0:
		l.wrong(line, `a group must be a mapping; begin it with "id:"`)
		return nil
	case depth > deepest:
		l.wrong(line, "groups are in one another more than %d deep; does an alias contain itself?", deepest)
		return nil
	}
	line = members[0].Line
	g := &Group{}
	for _, m := range members { // before all others, since errors tell it
		if m.Name == "id" && g.ID == "" {
			g.ID, _ = l.Text(m.Value)
		}
	}
	seen := map[string]int{}
	var within []ast.Node
	for _, m := range members {
		err := m.Once(seen)
		switch {
		case err != nil:
		case m.Name == "id":
			g.ID, err = l.Text(m.Value)
		case m.Name == "name":
			g.Name, err = l.Text(m.Value)
		case m.Name == "locations":
			g.Locations, err = l.places(m.Value)
		case m.Name == "groups":
			within, err = l.List(m.Value)
		case m.Name == "roaming":
			g.Roaming, err = l.Flag(m.Value)
		default:
			err = fmt.Errorf("unknown field%s", handwritten.DidYouMean(m.Name, groupFields))
		}
		if err != nil {
			l.wrong(m.Line, "group %q: %s: %w", g.ID, m.Name, err)
		}
	}
	switch first, twice := l.lines[g.ID]; {
	case !ids.MatchString(g.ID):
		l.wrong(line, "group %q: give it an id of up to 64 letters, digits, '-' and '_'; its name may be any text", g.ID)
	case twice:
		l.wrong(line, "group %q is on line %d already; ids must be unique", g.ID, first)
	default:
		l.lines[g.ID], l.tree.ids[g.ID] = line, g
	}
	g.Name = cmp.Or(g.Name, g.ID)
	for _, n := range within {
		if of := l.group(n, depth+1); of != nil {
			g.Groups = append(g.Groups, of)
		}
	}
	return g
}

// places reads a list of locations.
func (l *loader) places(n ast.Node) (places []Place, err error) {
	items, err := l.List(n)
	for i, item := range items {
		p, bad := l.place(item)
		if bad != nil {
			err = errors.Join(err, fmt.Errorf("item %d: %w", i+1, bad))
		} else if !slices.Contains(places, p) {
			places = append(places, p)
		}
	}
	return places, err
}

// place reads "account/location", "location" or "account/*": the account ends at the first
// slash. A mapping of account and location takes both as they are.
func (l *loader) place(n ast.Node) (p Place, err error) {
	if _, mapping := l.Resolve(n).(ast.MapNode); mapping {
		fields, err := l.Pairs(n)
		if err != nil {
			return p, err
		}
		for name := range fields {
			if name != "account" && name != "location" {
				return p, fmt.Errorf("unknown field %q%s", name, handwritten.DidYouMean(name, []string{"account", "location"}))
			}
		}
		p = Place{fields["account"], fields["location"]}
		if p.Account == "" {
			p.Account = string(l.only)
		}
		return p, l.complete(p)
	}
	text, err := l.Text(n)
	if err != nil {
		return p, err
	}
	account, location, qualified := strings.Cut(text, "/")
	if !qualified {
		account, location = string(l.only), text
	}
	p = Place{account, location}
	return p, l.complete(p)
}

func (l *loader) complete(p Place) error {
	switch {
	case p.Location == "":
		return errors.New("it names no location; write account/location, or location alone where there is one account")
	case p.Account == "" && l.only == "":
		return fmt.Errorf("%q names no account, and there are several; write account/%s", p.Location, p.Location)
	case p.Account == "":
		return fmt.Errorf("/%s names no account; write %s/%s", p.Location, l.only, p.Location)
	}
	return nil
}

// roaming checks that no location is in two groups that are one place each. above is such a
// group that the list is in.
func (l *loader) roaming(list []*Group, above string, in map[Place]string) {
	for _, g := range list {
		within := above
		if g.Roaming {
			if above != "" {
				l.wrong(l.lines[g.ID], "group %q: roaming: group %q has it, and this one is in that; leave it out of one", g.ID, above)
			}
			within = g.ID
			for _, p := range g.set.Places() {
				if p.Location == Every {
					l.wrong(l.lines[g.ID], "group %q: roaming: %s is no list of locations; write them down one by one", g.ID, p)
				}
				if other := in[p]; other != "" && above == "" {
					l.wrong(l.lines[g.ID], "group %q: roaming: %s is in group %q too, which has it as well; a location is part of one such place at most", g.ID, p, other)
				}
				in[p] = g.ID
			}
		}
		l.roaming(g.Groups, within, in)
	}
}

var grantFields = []string{"name", "token", "groups", "personal_data"}

// grant reads one token's entry.
func (l *loader) grant(n ast.Node) {
	members, ok := l.Members(n, 0)
	line := handwritten.LineOf(n)
	if !ok || len(members) == 0 {
		l.wrong(line, `a token must be a mapping; begin it with "name:"`)
		return
	}
	line = members[0].Line
	g := &Grant{}
	for _, m := range members {
		if m.Name == "name" && g.Name == "" {
			g.Name, _ = l.Text(m.Value)
		}
	}
	faults, seen := len(l.faults), map[string]int{}
	for _, m := range members {
		err := m.Once(seen)
		switch {
		case err != nil:
		case m.Name == "name":
			g.Name, err = l.Text(m.Value)
		case m.Name == "token":
			g.digest, err = l.token(m.Value)
		case m.Name == "groups":
			g.Groups, err = l.named(m.Value)
		case m.Name == "personal_data":
			g.Personal, err = l.Flag(m.Value)
		default:
			err = fmt.Errorf("unknown field%s", handwritten.DidYouMean(m.Name, grantFields))
		}
		if err != nil {
			l.wrong(m.Line, "token %q: %s: %w", g.Name, m.Name, err)
		}
	}
	for _, field := range grantFields[:3] {
		if seen[field] == 0 || field == "name" && g.Name == "" {
			l.wrong(line, "token %q: it has no %s; write each of name, token and groups", g.Name, field)
		}
	}
	if len(l.faults) > faults {
		return
	}
	for _, other := range l.tree.Grants {
		switch {
		case other.Name == g.Name:
			l.wrong(line, "token %q: there is one of that name already; names must be unique", g.Name)
		case other.digest == g.digest:
			l.wrong(line, "token %q: it is the one of %q; give each its own", g.Name, other.Name)
		}
	}
	g.settle()
	l.tree.Grants = append(l.tree.Grants, g)
}

// named reads a list of groups.
func (l *loader) named(n ast.Node) (groups []*Group, err error) {
	texts, err := l.Texts(n)
	for _, id := range texts {
		g := l.tree.ids[id]
		if g == nil {
			err = errors.Join(err, fmt.Errorf("there is no group %q%s", id, handwritten.DidYouMean(id, l.tree.IDs())))
		} else if !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	if err == nil && len(groups) == 0 {
		err = errors.New("a token without groups shows nothing; name one, or remove the token")
	}
	return groups, err
}

// shortest is the least length of a token.
const shortest = 16

const digestReference = "sha256:"

// token reads where a token is, or its digest. The token itself has no place in the file,
// which people show to one another.
func (l *loader) token(n ast.Node) (digest [sha256.Size]byte, err error) {
	text, err := l.Text(n)
	if err != nil {
		return digest, err
	}
	if written, ok := strings.CutPrefix(text, digestReference); ok {
		sum, err := hex.DecodeString(written)
		if err != nil || len(sum) != sha256.Size {
			return digest, errors.New("sha256: wants the 64 hexadecimal digits that `printf %s TOKEN | sha256sum` prints")
		}
		return [sha256.Size]byte(sum), nil
	}
	if !handwritten.IsReference(text) {
		return digest, errors.New("a token has no place in this file; write env:NAME, file:/path or sha256: and its digest, and give the token anew where it stood here")
	}
	value, err := handwritten.Referred(text, os.LookupEnv, l.read)
	if err != nil {
		return digest, err
	}
	if len(value) < shortest {
		return digest, fmt.Errorf("%s is shorter than %d characters, so it can be guessed; `openssl rand -hex 32` makes one", text, shortest)
	}
	return sha256.Sum256([]byte(value)), nil
}

// read reads what an entry refers to; a relative path counts from the folder of the file.
func (l *loader) read(path string) ([]byte, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(l.path), path)
	}
	l.files = append(l.files, path) // also one that is still to be made
	return handwritten.ReadFile(path)
}
