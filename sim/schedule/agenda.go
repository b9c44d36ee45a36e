package schedule

import "container/heap"

// Agenda is what is still to happen: earlier moments first, and in one moment what was planned first. The zero value is empty.
type Agenda[T any] struct {
	plans   plans[T]
	planned int // ever
}

type plan[T any] struct {
	when, order int
	what        T
}

// Add plans something for a moment.
func (a *Agenda[T]) Add(when int, what T) {
	a.planned++
	heap.Push(&a.plans, plan[T]{when, a.planned, what})
}

// Next returns the moment of what happens next; false where nothing is planned.
func (a *Agenda[T]) Next() (when int, ok bool) {
	if len(a.plans) == 0 {
		return 0, false
	}
	return a.plans[0].when, true
}

// Take returns what happens next, and forgets it. Something is planned.
func (a *Agenda[T]) Take() (when int, what T) {
	p := heap.Pop(&a.plans).(plan[T])
	return p.when, p.what
}

type plans[T any] []plan[T]

func (p plans[T]) Len() int { return len(p) }
func (p plans[T]) Less(i, j int) bool {
	return p[i].when < p[j].when || p[i].when == p[j].when && p[i].order < p[j].order
}
func (p plans[T]) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *plans[T]) Push(x any)   { *p = append(*p, x.(plan[T])) }
func (p *plans[T]) Pop() any {
	old := *p
	x := old[len(old)-1]
	*p = old[:len(old)-1]
	return x
}
