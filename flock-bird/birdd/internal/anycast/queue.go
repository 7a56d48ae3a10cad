// SPDX-License-Identifier: Apache-2.0

package anycast

import (
	"sync"

	"flock.fritzlab.net/flock/internal/task"
	"flock.fritzlab.net/flock/plugins/cni"
)

// item names what something was told of: a pod, by namespace/name, or an attachment.
type item struct {
	pod        string
	attachment cni.Attachment
}

// queue holds what is to be looked at. Whatever is queued twice before somebody looks is one.
type queue struct {
	ready task.Trigger

	mu     *sync.Mutex
	items  []item
	queued map[item]bool
}

func newQueue() queue {
	return queue{ready: task.NewTrigger(), mu: new(sync.Mutex), queued: map[item]bool{}}
}

// add never waits.
func (q *queue) add(it item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.queued[it] {
		q.items, q.queued[it] = append(q.items, it), true
		q.ready.Fire()
	}
}

// take returns everything, oldest first, and leaves the queue empty.
func (q *queue) take() []item {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items, q.queued = nil, map[item]bool{}
	return items
}
