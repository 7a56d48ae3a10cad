// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"flock.fritzlab.net/flock/test/lab"
)

// measureAttaching measures every contender in every round, each round beginning with another one: what
// one leaves to the kernel to do is in the way of each of the others equally often.
func (b *bench) measureAttaching(ctx context.Context) error {
	contenders, err := b.contenders(ctx)
	if err != nil {
		return err
	}
	b.say("%d rounds, one attachment at a time", b.Rounds)
	if err := b.rounds(ctx, contenders, b.Rounds, b.SlowRounds, 1); err != nil {
		return err
	}
	b.say("%d rounds, %d attachments at once", b.Bursts, b.Parallel)
	if err := b.rounds(ctx, contenders, b.Bursts, b.SlowBursts, b.Parallel); err != nil {
		return err
	}
	for _, c := range contenders {
		err := atOnce(c.settled, func(p *lab.Pod) error { return c.attach.Del(ctx, p) })
		if err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
	}
	return nil
}

func (b *bench) contenders(ctx context.Context) ([]*contender, error) {
	var contenders []*contender
	for _, n := range networks {
		counts := []int{b.Few}
		if n.many {
			counts = append(counts, b.Many)
		}
		for _, count := range counts {
			c, err := b.newContender(ctx, n, count)
			if err != nil {
				return nil, fmt.Errorf("%s, %d existing: %w", n.name, count, err)
			}
			contenders = append(contenders, c)
		}
	}
	return contenders, nil
}

func (b *bench) rounds(ctx context.Context, contenders []*contender, rounds, slowRounds, parallel int) error {
	for round := range rounds {
		for i := range contenders {
			c := contenders[(round+i)%len(contenders)]
			if c.slow && round%(rounds/slowRounds) != 0 {
				continue
			}
			if err := b.round(ctx, c, parallel); err != nil {
				return fmt.Errorf("%s: %w", c, err)
			}
		}
	}
	return nil
}

// round attaches and detaches pods in fresh sandboxes.
func (b *bench) round(ctx context.Context, c *contender, parallel int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	pods, err := b.newPods(parallel)
	if err != nil {
		return err
	}
	add := key{c.name, c.existing, parallel, "ADD"}
	if err := b.time(add, pods, func(p *lab.Pod) error { return c.attach.Add(ctx, p) }); err != nil {
		return err
	}
	del := key{c.name, c.existing, parallel, "DEL"}
	return b.time(del, pods, func(p *lab.Pod) error { return c.attach.Del(ctx, p) })
}

// time does something with every pod at once and notes how long each took. A failure of a reference
// plugin, which a busy machine can bring about, is counted; one of flock ends the run.
func (b *bench) time(k key, pods []*lab.Pod, do func(*lab.Pod) error) error {
	var mu sync.Mutex
	return atOnce(pods, func(p *lab.Pod) error {
		start := time.Now()
		err := do(p)
		took := time.Since(start)
		mu.Lock()
		defer mu.Unlock()
		if err != nil && k.Subject != flockName {
			b.report.fail(k)
			return nil
		}
		b.report.note(k, took)
		return err
	})
}

// atOnce does something with every pod at once and waits for all of them.
func atOnce(pods []*lab.Pod, do func(*lab.Pod) error) error {
	errs := make([]error, len(pods))
	var wg sync.WaitGroup
	for i, p := range pods {
		wg.Go(func() { errs[i] = do(p) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
