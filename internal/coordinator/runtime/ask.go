package runtime

import (
	"errors"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Ask gives req to every loaded shard and calls answer once with all the responses, in order of their
// partitions. A shard that is being loaded is left out and told of by loading; one that fails is left out.
//
// answer must not block.
func (r *Runtime) Ask(req any, answer func(responses []any, loading bool)) {
	asked := r.ordered()
	q := &question{answer: answer}
	q.mu.left = len(asked)
	q.mu.replies = make([]reply, len(asked))
	if len(asked) == 0 {
		answer(nil, false)
		return
	}
	for i, l := range asked {
		l.request(req, false, func(response any, err error) { q.took(i, response, err) })
	}
}

// question is one request to all shards.
type question struct {
	answer func(responses []any, loading bool)

	mu struct { // a leaf
		sync.Mutex
		left    int // shards that have not replied
		replies []reply
		loading bool
	}
}

type reply struct {
	response any
	given    bool
}

// took notes the answer of the i-th shard; the last one ends the question.
func (q *question) took(i int, response any, err error) {
	q.mu.Lock()
	q.mu.replies[i] = reply{response, err == nil}
	q.mu.loading = q.mu.loading || errors.Is(err, kerr.CoordinatorLoadInProgress)
	q.mu.left--
	last, loading := q.mu.left == 0, q.mu.loading
	q.mu.Unlock()
	if !last {
		return
	}
	responses := make([]any, 0, len(q.mu.replies)) // nobody else is left to change them
	for _, have := range q.mu.replies {
		if have.given {
			responses = append(responses, have.response)
		}
	}
	q.answer(responses, loading)
}
