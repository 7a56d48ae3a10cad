// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRunEndsAllWithTheFirstFailure(t *testing.T) {
	bad := errors.New("out of luck")
	var ended bool
	err := Run(t.Context(),
		Func("patient", func(ctx context.Context) error { <-ctx.Done(); ended = true; return nil }),
		Func("unlucky", func(context.Context) error { return bad }),
	)
	if !errors.Is(err, bad) || !strings.Contains(err.Error(), "task unlucky: ") || !ended {
		t.Errorf("Run() = %v, the other ended: %v", err, ended)
	}
}

func TestRunEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, Func("patient", func(ctx context.Context) error { <-ctx.Done(); return nil })); err != nil {
		t.Error(err)
	}
}

func TestRunLeavesAStuckTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		stuck := make(chan struct{})
		defer close(stuck)
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		err := Run(ctx,
			Func("slow", func(ctx context.Context) error { <-ctx.Done(); time.Sleep(time.Second); return nil }),
			Func("stuck", func(context.Context) error { <-stuck; return nil }),
		)
		if err == nil || err.Error() != "task stuck: has not ended" || time.Since(start) != time.Second+patience {
			t.Errorf("Run() = %v after %s", err, time.Since(start))
		}
	})
}

// TestLoop fires at times in milliseconds and looks when the function is called.
func TestLoop(t *testing.T) {
	for _, test := range []struct {
		name       string
		fire, want []int
	}{
		{"nothing fires", nil, []int{0, 3000, 6000, 9000}},
		{"at once", []int{1000}, []int{0, 1000, 4000, 7000}},
		{"burst", []int{1000, 1001, 1100, 1499}, []int{0, 1000, 1500, 4500, 7500}},
		{"within the first rest", []int{1, 2}, []int{0, 500, 3500, 6500, 9500}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 9900*time.Millisecond)
				defer cancel()
				trigger := NewTrigger()
				for _, at := range test.fire {
					time.AfterFunc(time.Duration(at)*time.Millisecond, trigger.Fire)
				}
				var got []int
				err := Loop(ctx, trigger, 500*time.Millisecond, 3*time.Second, func(context.Context) {
					got = append(got, int(time.Since(start).Milliseconds()))
				})
				if err != nil || !slices.Equal(got, test.want) {
					t.Errorf("called at %v, want %v (%v)", got, test.want, err)
				}
			})
		})
	}
}
