package group

import (
	"crypto/sha256"
	"crypto/subtle"
)

// Grant says what the bearer of a token may see. It holds the token's digest alone.
type Grant struct {
	// Name is how logs and people call it.
	Name string
	// Groups may be seen, with all that is in them: none of them is in another.
	Groups []*Group
	// Personal data are shown.
	Personal bool

	digest [sha256.Size]byte
	set    *Set
}

// Set is that of the locations that may be seen.
func (g *Grant) Set() *Set { return g.set }

// Find returns a group that may be seen; nil where there is none of that id, or it may not.
func (g *Grant) Find(id string) *Group { return under(g.Groups, id) }

// Bearer returns the grant of a token; nil where there is none. How long it takes tells
// nothing of the tokens there are.
func (t *Tree) Bearer(token string) (found *Grant) {
	if t == nil {
		return nil
	}
	digest := sha256.Sum256([]byte(token))
	for _, g := range t.Grants {
		if subtle.ConstantTimeCompare(digest[:], g.digest[:]) == 1 {
			found = g
		}
	}
	return found
}

// settle makes the grant's set of its groups, and drops groups that are in others of them.
func (g *Grant) settle() {
	var tops []*Group
	for i, one := range g.Groups {
		covered := false
		for j, other := range g.Groups {
			covered = covered || i != j && under(other.Groups, one.ID) != nil
		}
		if !covered {
			tops = append(tops, one)
		}
	}
	g.Groups, g.set = tops, NewSet()
	for _, one := range tops {
		for _, p := range one.set.Places() {
			g.set.add(p)
		}
	}
}
