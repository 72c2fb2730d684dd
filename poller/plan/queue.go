package plan

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
func (q *queue) heap() {
	for i := len(q.rows)/2 - 1; i >= 0; i-- {
		q.down(i)
	}
}

// next takes the row out that was not seen for longest; nil where there is none.
func (q *queue) next() *Row {
	n := len(q.rows)
	if n == 0 {
		return nil
	}
	e := q.rows[0].row
	q.rows[0] = q.rows[n-1]
	q.rows = q.rows[:n-1]
	q.down(0)
	return e
}

func (q *queue) down(i int) {
	for {
		least := 2*i + 1
		if least >= len(q.rows) {
			return
		}
		if right := least + 1; right < len(q.rows) && q.rows[right].before(&q.rows[least]) {
			least = right
		}
		if !q.rows[least].before(&q.rows[i]) {
			return
		}
		q.rows[i], q.rows[least] = q.rows[least], q.rows[i]
		i = least
	}
}
