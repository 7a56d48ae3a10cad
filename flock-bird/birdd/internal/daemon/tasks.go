// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/source"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/status"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/summary"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/verdict"
	"flock.fritzlab.net/flock/internal/task"
)

// The rhythm of the comparisons: at once after an event, but not oftener than rest, and every interval
// without one.
const (
	configRest      = 50 * time.Millisecond
	summariesRest   = time.Second
	compareInterval = 30 * time.Second
	lookRest        = 500 * time.Millisecond
	lookInterval    = 2 * time.Second
	// loopLimit is above what any turn of a loop may take: the kernel, the store and speakers answer in seconds.
	loopLimit = 3 * time.Minute
)

func (d *daemon) keepConfig(ctx context.Context) error {
	alive := d.health.Loop("config", loopLimit)
	return task.Loop(ctx, d.sourced, configRest, compareInterval, func(context.Context) {
		alive()
		d.takeConfig()
	})
}

// takeConfig takes over a valid NodeConfig. An invalid one, or none, changes nothing.
func (d *daemon) takeConfig() {
	defer d.looks.Fire()
	before := d.config.Load().config
	config, err := d.source.Read()
	switch {
	case err == nil && reflect.DeepEqual(config, before):
		d.config.Store(&current{before, nil})
		d.sessions.changed() // a file with a password may be what was told of
	case err == nil:
		d.config.Store(&current{config, nil})
		d.summaries.Fire()
	case before != nil:
		d.config.Store(&current{before, err})
		err = fmt.Errorf("%w; birdd keeps to the one before", err)
	case errors.Is(err, source.ErrUnanswered):
		return // the areas of the API server and of its watch say it, where it lasts
	default:
		d.config.Store(&current{nil, err})
	}
	d.health.Set(areaNodeConfig, err)
}

func (d *daemon) keepSummaries(ctx context.Context, keeper *summary.Keeper) error {
	alive := d.health.Loop("summaries", loopLimit)
	return task.Loop(ctx, d.summaries, summariesRest, compareInterval, func(context.Context) {
		alive()
		config := d.config.Load().config
		if config == nil {
			return
		}
		done, err := d.applySummaries(keeper, config)
		for _, r := range done.Add {
			d.Log.Info("added route", "route", r.String())
		}
		for _, r := range done.Delete {
			d.Log.Info("deleted route", "route", r.String())
		}
		d.health.Set(areaSummaries, err)
		if len(done.Add)+len(done.Delete) > 0 {
			d.looks.Fire()
		}
	})
}

// applySummaries brings the routes to the NodeConfig in two steps, with the speaker's configuration between them: the filters
// of the one before let a pool pass until what it covered is announced otherwise, and those of the next do when a
// pool takes over. A speaker that refuses the next, or is away, has the filters of the one before, and so the second waits.
func (d *daemon) applySummaries(keeper *summary.Keeper, config *v1alpha1.Config) (summary.Plan, error) {
	want := summary.WantOf(config, d.Table)
	retired := d.sessions.retire(config)
	if d.sessions.goBy(config) {
		done, err := keeper.Apply(want)
		return done, errors.Join(retired, err)
	}
	done, err := keeper.Extend(want)
	d.sessions.take(config)
	return done, errors.Join(retired, err)
}

func (d *daemon) keepLooking(ctx context.Context) error {
	alive := d.health.Loop("look", loopLimit)
	return task.Loop(ctx, d.looks, lookRest, lookInterval, func(ctx context.Context) {
		alive()
		d.look(ctx)
	})
}

// look asks the speaker and the kernel how the node announces, and tells whom it concerns.
func (d *daemon) look(ctx context.Context) {
	asked := status.Asked{Name: *d.sessions.name.Load()}
	asked.Speaker, asked.Err = d.sessions.all.Get(asked.Name)
	report, err := status.Collect(ctx, asked, d.StateDir, d.Table)
	if ctx.Err() != nil {
		return
	}
	d.health.Set(areaLook, err)
	if err != nil {
		return
	}
	c := d.config.Load()
	seen := verdict.Seen{
		Config: c.config, ConfigErr: c.err, SpeakerErr: problemOf(d.health, d.sessions.area()), LeftOut: peerProblems(d.health),
		Foreign: d.sessions.foreign(), Report: report,
	}
	d.seen.Store(&seen)
	if d.cluster != nil {
		d.cluster.publish(seen)
	}
}
