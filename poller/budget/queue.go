package budget

import "slices"

// queue is a first-in, first-out queue in which nothing moves: with thousands of
// requests a minute, each one's cost must not grow with the limit. The zero queue is
// empty.
type queue[T any] struct {
	items []T
	first int // those before it are gone
}

func (q *queue[T]) len() int   { return len(q.items) - q.first }
func (q *queue[T]) at(i int) T { return q.items[q.first+i] }

func (q *queue[T]) push(item T) {
	if q.first > len(q.items)/2 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.items[q.first:])
		q.items, q.first = q.items[:n], 0
	}
	q.items = append(q.items, item)
}

func (q *queue[T]) pop() T {
	item := q.items[q.first]
	q.first++
	return item
}

// insert puts an item before those at the end that it belongs before.
func (q *queue[T]) insert(item T, before func(T) bool) {
	i := len(q.items)
	for i > q.first && before(q.items[i-1]) {
		i--
	}
	if i == len(q.items) {
		q.push(item)
		return
	}
	q.items = slices.Insert(q.items, i, item)
}
