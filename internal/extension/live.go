// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// live has the extension run once. It returns why it is down, and nil when the context ended and with it the extension.
func (s *Supervisor) live(ctx context.Context) error {
	i := s.takeOver(ctx)
	if i == nil {
		var err error
		s.count()
		if i, err = s.launch(ctx); err != nil {
			return err
		}
	}
	s.up(i)
	err := s.watch(ctx, i)
	s.use(nil)
	if err == nil {
		s.stop(i)
	}
	i.close()
	i.end()
	return err
}

// count notes that the extension is started, and started again.
func (s *Supervisor) count() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began {
		s.state.Restarts++
	}
	s.began = true
}

// takeOver returns the extension that an earlier supervisor started, if it lives and answers. One that only lives is
// ended.
func (s *Supervisor) takeOver(ctx context.Context) *instance {
	if s.record == "" {
		return nil
	}
	rec, err := readRecord(s.record)
	if err != nil || !rec.State.Up {
		return nil
	}
	p, err := adopt(rec.State.PID, rec.Born)
	if err != nil {
		return nil
	}
	i, err := s.resume(ctx, rec, p)
	if err != nil {
		s.log.Warn("extension is not taken over", "pid", p.pid, "error", err)
		p.end()
		return nil
	}
	return i
}

func (s *Supervisor) resume(ctx context.Context, rec record, p *process) (*instance, error) {
	config, err := rec.config()
	if err != nil {
		return nil, err
	}
	i := &instance{process: p, version: rec.State.Version, socket: filepath.Join(s.o.Folder, rec.Socket), tls: config,
		says: newSays(s.log), since: rec.State.Since}
	return i, s.connect(ctx, i)
}

// watch returns why the extension has to be ended, or has, and nil when the context ends.
func (s *Supervisor) watch(ctx context.Context, i *instance) error {
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-i.ended:
			return i.epitaph()
		case <-tick.C:
		}
		if err := ping(ctx, i.conn, s.answer); err != nil && ctx.Err() == nil {
			return i.silence(err)
		}
	}
}

// silence returns why the extension did not answer: most often it has ended, and is about to be reaped.
func (i *instance) silence(err error) error {
	select {
	case <-i.ended:
		return i.epitaph()
	case <-time.After(time.Second):
		return quote(err, i.says)
	}
}

// epitaph returns how the extension ended.
func (i *instance) epitaph() error { return quote(fmt.Errorf("it ended: %s", i.how), i.says) }

// stop has the extension end by itself, within the time that it has for that.
func (s *Supervisor) stop(i *instance) {
	ctx, cancel := context.WithTimeout(context.Background(), s.o.Grace)
	defer cancel()
	if s.o.Stop != nil {
		if err := s.o.Stop(ctx, i.client); err != nil {
			s.log.Error("extension does not stop", "error", err)
		}
	}
	i.shutdown(ctx)
	select {
	case <-i.ended:
	case <-ctx.Done():
		s.log.Warn("extension is killed", "grace", s.o.Grace)
	}
}
