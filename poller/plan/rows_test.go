package plan

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// check is what holds of rows whatever was done to them.
func (r *Rows) check() error {
	n := 0
	var last *Row
	for i, b := range r.blocks {
		if b.at != i || len(b.rows) == 0 || len(b.rows) > blockMax {
			return fmt.Errorf("block %d of %d stands at %d, with %d rows", i, len(r.blocks), b.at, len(b.rows))
		}
		for i, e := range b.rows {
			if e.block != b {
				return fmt.Errorf("%s is not in its block", e.ID)
			}
			if len(b.marks) != len(b.rows) || b.marks[i] != e.mark() {
				return fmt.Errorf("%s has the mark of another, or what it was", e.ID)
			}
			if last != nil && r.before(e.Start, last.Start) {
				return fmt.Errorf("%s of %v stands behind %s of %v", e.ID, e.Start, last.ID, last.Start)
			}
			last = e
			n++
		}
	}
	if n != r.n {
		return fmt.Errorf("%d rows are counted, there are %d", r.n, n)
	}
	return nil
}

// listed makes a row of a session that began so many seconds before noon, and was
// seen at a time.
func (t *Track) listed(id string, l *Location, ago int, seen time.Time) *Row {
	e := t.Rows.NewRow(id, l, noon.Add(-time.Duration(ago)*time.Second), seen)
	t.Enter(&e)
	t.Rows.Insert(&e)
	return &e
}

// TestRowsStayInOrder whoever comes and goes, and what is between two starts is all
// that began between them.
func TestRowsStayInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		track := NewTrack(noon)
		track.Rows.NewestFirst = rapid.Bool().Draw(t, "newest first")
		hall := track.Rates.Location("hall", noon)
		var all []*Row
		for range rapid.IntRange(1, 600).Draw(t, "steps") {
			if len(all) > 0 && rapid.IntRange(0, 2).Draw(t, "what") == 0 {
				i := rapid.IntRange(0, len(all)-1).Draw(t, "who")
				track.Rows.Remove(all[i])
				hall.Left(all[i])
				all = append(all[:i], all[i+1:]...)
				continue
			}
			all = append(all, track.listed(fmt.Sprint(len(all)), &hall, rapid.IntRange(0, 300).Draw(t, "ago"), noon))
			someone := all[rapid.IntRange(0, len(all)-1).Draw(t, "someone")]
			track.Rows.Ask(someone, !someone.askable)
			track.Show(someone, noon.Add(time.Duration(len(all))*time.Second), noon)
		}
		if err := track.Rows.check(); err != nil {
			t.Fatal(err)
		}
		if track.Rows.Len() != len(all) || hall.Online != len(all) {
			t.Fatalf("%d rows, %d online, want %d", track.Rows.Len(), hall.Online, len(all))
		}
		after, before := noon.Add(-200*time.Second), noon.Add(-100*time.Second)
		want, got := 0, 0
		for _, e := range all {
			if e.Start.After(after) && e.Start.Before(before) {
				want++
			}
		}
		for range track.Rows.Between(after, before) {
			got++
		}
		if got != want {
			t.Fatalf("%d rows between two starts, want %d", got, want)
		}
		track.Rows.Reset(!track.Rows.NewestFirst)
		for _, e := range all {
			track.Rows.Insert(e)
		}
		if err := track.Rows.check(); err != nil {
			t.Fatal(err)
		}
	})
}
