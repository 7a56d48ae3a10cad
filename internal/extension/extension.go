// SPDX-License-Identifier: Apache-2.0

// Package extension finds the programs that flock's daemons are extended by, starts them, keeps them running, and
// reaches those that another process keeps running. An extension speaks gRPC over hashicorp/go-plugin.
//
// A [Supervisor] is a task of the daemon that has the extension: it starts it, asks it every few seconds whether it is
// there, and ends and starts it anew when it is not, later each time that it fails. An extension ends with its
// supervisor unless the supervisor was killed: one that does not outlive it is ended by the kernel then, one that does
// goes on, and the supervisor that is started next takes it over.
//
// A [Remote] reaches an extension that another process supervises, by the [Record] that the supervisor keeps of it in a
// file. It never starts, ends or signals anything: the processes may be in different containers.
//
// What go-plugin offers beyond calls is not there: the broker that contracts get is nil. What an extension writes to
// os.Stdout and os.Stderr after go-plugin has put pipes there is read by its supervisor alone: one that outlives it keeps to
// the standard error that it was started with, or stands still when these are full.
package extension

import (
	"errors"
	"time"

	"github.com/hashicorp/go-plugin"
)

// Kind is what extensions of one contract have in common.
type Kind struct {
	// Name begins the names of their programs, and is their name in the sets of Versions.
	Name string
	// Handshake has the contract's cookie. Its version is not looked at.
	Handshake plugin.HandshakeConfig
	// Versions are the versions of the contract that the daemon speaks.
	Versions map[int]plugin.PluginSet
}

// ErrDown is matched by the errors of [Supervisor.Client] and [Remote.Client]: the extension is not there, for now. Their
// text begins with this one's and says why; it does not name the extension, as who asks does.
var ErrDown = errors.New("it is not up")

// State is how an extension is.
type State struct {
	// Up: it answers, as far as is known.
	Up bool `json:"up"`
	// Since is when it came up or went down.
	Since time.Time `json:"since,omitzero"`
	// Restarts counts how often it was started again, since its supervisor was, or, of one that outlives it, at all.
	Restarts int `json:"restarts"`
	// LastError is why it is down, or was down last; empty if it never was.
	LastError string `json:"lastError,omitempty"`
	// Version of the contract and PID in its supervisor's namespace are 0 while it is down.
	Version int `json:"version,omitempty"`
	PID     int `json:"pid,omitempty"`
}
