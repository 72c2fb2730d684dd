package handwritten

import (
	"fmt"
	"slices"
	"strings"
)

// DidYouMean is the end of an error about an unknown name: the known name that
// was probably meant, or all of them.
func DidYouMean(name string, known []string) string {
	best, least := "", 1+max(1, len(name)/3)
	for _, k := range known {
		if n := edits(name, k); n < least {
			best, least = k, n
		}
	}
	if at := slices.IndexFunc(known, func(k string) bool {
		return len(name) > 3 && strings.HasPrefix(k, name[:max(4, len(name)-2)])
	}); best == "" && at >= 0 {
		best = known[at]
	}
	if best == "" {
		return "; known are " + strings.Join(known, ", ")
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// edits counts the letters to insert, remove, replace or swap with their
// neighbour to get from a to b.
func edits(a, b string) int {
	before, above := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			differ := 0
			if a[i-1] != b[j-1] {
				differ = 1
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+differ)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above = above, row
	}
	return above[len(b)]
}
