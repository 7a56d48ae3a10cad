// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// Remote reaches an extension that another process supervises and that outlives it.
type Remote struct {
	kind         Kind
	name, folder string
	metrics      *Metrics

	mu     sync.Mutex
	socket string // that of the connection, empty where there is none
	born   uint64
	conn   *grpc.ClientConn
	client any
	cancel context.CancelFunc
}

// NewRemote returns a Remote for the extension of the name, whose supervisor has the state folder. Metrics may be nil.
func NewRemote(kind Kind, name, folder string, metrics *Metrics) *Remote {
	r := &Remote{kind: kind, name: name, folder: folder, metrics: metrics}
	metrics.add(r.id(), r.State)
	return r
}

func (r *Remote) id() string { return r.kind.Name + "-" + r.name }

// Client returns what the contract's plugin dispensed, for one call or a few: it is another when the extension was
// started again. It reads the record each time and asks the extension nothing. Where the record says that the extension
// is down, or there is none, the error matches [ErrDown] and says why.
func (r *Remote) Client() (any, error) {
	client, _, err := r.reach()
	return client, err
}

// State returns what the record says, or why there is none. Where nobody is at the socket it is down, whatever the record
// says: its supervisor was killed with it.
func (r *Remote) State() State {
	_, state, err := r.reach()
	if err == nil {
		err = r.knock()
	}
	if err != nil {
		return State{Since: state.Since, Restarts: state.Restarts, LastError: err.Error()}
	}
	return state
}

// knock returns an error where nobody listens at the socket.
func (r *Remote) knock() error {
	r.mu.Lock()
	socket := filepath.Join(r.folder, r.socket)
	r.mu.Unlock()
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return fmt.Errorf("it ended, and nobody runs it: %w", err)
	}
	return conn.Close()
}

// reach returns the client for the extension of the record, and what the record says.
func (r *Remote) reach() (any, State, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec, err := readRecord(RecordPath(r.folder, r.kind.Name, r.name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, State{}, fmt.Errorf("%w: nothing runs it: %w", ErrDown, err)
	}
	if err != nil {
		return nil, State{}, fmt.Errorf("%w: %w", ErrDown, err)
	}
	if !rec.State.Up {
		return nil, rec.State, fmt.Errorf("%w: %s", ErrDown, rec.State.LastError)
	}
	if rec.Socket != r.socket || rec.Born != r.born {
		if err := r.connect(rec); err != nil {
			return nil, rec.State, fmt.Errorf("%w: %w", ErrDown, err)
		}
	}
	return r.client, rec.State, nil
}

// connect replaces the connection by one to the extension of the record.
func (r *Remote) connect(rec record) error {
	r.drop()
	config, err := rec.config()
	if err != nil {
		return err
	}
	conn, err := dial(filepath.Join(r.folder, rec.Socket), config, r.metrics.observe(r.id()))
	if err != nil {
		return err
	}
	life, cancel := context.WithCancel(context.Background())
	client, err := dispense(life, r.kind, rec.State.Version, conn)
	if err != nil {
		cancel()
		return errors.Join(err, conn.Close())
	}
	r.socket, r.born, r.conn, r.client, r.cancel = rec.Socket, rec.Born, conn, client, cancel
	return nil
}

// drop closes the connection, which the extension goes on without.
func (r *Remote) drop() error {
	if r.conn == nil {
		return nil
	}
	r.cancel()
	err := r.conn.Close()
	r.socket, r.born, r.conn, r.client = "", 0, nil, nil
	return err
}

// Close ends the connection, and does nothing to the extension.
func (r *Remote) Close() error {
	r.metrics.remove(r.id())
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.drop()
}
