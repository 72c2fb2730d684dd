package plan

import "container/heap"

// queue holds rows by when they were last seen. What was not seen for longest comes out
// first, and only as many are put in order as are taken: mostly the first one will do, of
// as many as there are blocks.
type queue struct {
	rows []queued
	last int // the order in which they came in decides between equals
}

type queued struct {
	seen  float64
	order int
	row   *Row
}

func (a *queued) before(b *queued) bool {
	return a.seen < b.seen || a.seen == b.seen && a.order < b.order
}

func (q *queue) clear() { q.rows, q.last = q.rows[:0], 0 }

// add puts a row in, in no order yet; see heap.
func (q *queue) add(e *Row, seen float64) {
	q.last++
	q.rows = append(q.rows, queued{seen, q.last, e})
}

// heap puts the rows in so much order that next can begin.
func (q *queue) heap() { heap.Init(q) }

// next takes the row out that was not seen for longest; nil where there is none.
func (q *queue) next() *Row {
	if len(q.rows) == 0 {
		return nil
	}
	e := q.rows[0].row
	heap.Pop(q)
	return e
}

// Len, Less, Swap, Push and Pop are those of a heap.Interface.
func (q *queue) Len() int           { return len(q.rows) }
func (q *queue) Less(i, j int) bool { return q.rows[i].before(&q.rows[j]) }
func (q *queue) Swap(i, j int)      { q.rows[i], q.rows[j] = q.rows[j], q.rows[i] }
func (q *queue) Push(x any)         { q.rows = append(q.rows, x.(queued)) }

func (q *queue) Pop() any {
	q.rows = q.rows[:len(q.rows)-1]
	return nil // next has read it
}
