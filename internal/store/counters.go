// SPDX-License-Identifier: Apache-2.0

package store

import "time"

// Counters say what became of the node's ADDs. They rise from zero with each new store, and each one is
// counted in the transaction that it is about.
type Counters struct {
	// Allocated is how many attachments got addresses.
	Allocated uint64 `json:"allocated"`
	// Committed is how many of them were finished, Undone how many were released before.
	Committed uint64 `json:"committed"`
	Undone    uint64 `json:"undone"`
	// Refused is how many ADDs failed in flock-ipam, by their CNI error code.
	Refused map[uint]uint64 `json:"refused,omitempty"`
	// Durations are the times from an ADD's beginning in flock-ipam until it was committed.
	Durations Histogram `json:"durations"`
}

// Bounds are the upper bounds of a histogram's buckets; one without a bound follows.
var Bounds = [...]time.Duration{
	1 * time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond,
	10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	1 * time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second,
}

// Histogram counts durations.
type Histogram struct {
	// Buckets count those of at most their bound and more than the bound before.
	Buckets [len(Bounds) + 1]uint64 `json:"buckets"`
	// Sum is all durations together, in nanoseconds.
	Sum time.Duration `json:"sum"`
}

// Cumulative returns how many durations there are, and for each bound in seconds how many of them are
// not above it.
func (h Histogram) Cumulative() (count uint64, upTo map[float64]uint64) {
	upTo = map[float64]uint64{}
	for i, n := range h.Buckets {
		count += n
		if i < len(Bounds) {
			upTo[Bounds[i].Seconds()] = count
		}
	}
	return count, upTo
}

// longest is more than any runtime waits for an ADD. What exceeds it, or is below zero, is no duration:
// the wall clock was set meanwhile.
const longest = time.Hour

func (h *Histogram) add(d time.Duration) {
	d = min(max(d, 0), longest)
	i := 0
	for i < len(Bounds) && d > Bounds[i] {
		i++
	}
	h.Buckets[i]++
	h.Sum += d
}

func (c *Counters) allocated(alloc Allocation) {
	c.Allocated++
	if alloc.State == Committed {
		c.committed(alloc)
	}
}

func (c *Counters) committed(alloc Allocation) {
	c.Committed++
	c.Durations.add(alloc.CommittedAt.Sub(alloc.Allocated))
}

// totalsKey is the one key of its bucket.
var totalsKey = []byte("adds")

// Counters returns what became of ADDs since the store began.
func (tx *Tx) Counters() (Counters, error) {
	var c Counters
	_, err := tx.totals.get(totalsKey, &c)
	return c, err
}

// Refuse counts an ADD that failed with a CNI error code.
func (tx *Tx) Refuse(code uint) error {
	return tx.count(func(c *Counters) {
		if c.Refused == nil {
			c.Refused = map[uint]uint64{}
		}
		c.Refused[code]++
	})
}

// count changes the counters. Those that another version wrote begin anew: they are no reason to fail.
func (tx *Tx) count(change func(*Counters)) error {
	c, err := tx.Counters()
	if isDamage(err) {
		return err
	}
	if err != nil {
		c = Counters{}
	}
	change(&c)
	return tx.totals.put(totalsKey, c)
}
