// SPDX-License-Identifier: Apache-2.0

// Package hint is the datagram by which flock-bird tells birdd of an attachment that has come or gone.
// Nobody waits for it, and birdd's regular comparison makes a lost one harmless.
package hint

import (
	"path/filepath"

	"flock.fritzlab.net/flock/internal/datagram"
	"flock.fritzlab.net/flock/plugins/cni"
)

// SocketName is the name of birdd's socket in stateDir.
const SocketName = "birdd.sock"

// Hint says that an attachment has come or gone: a JSON object in a datagram of its own. Which of the two the store
// tells.
type Hint struct {
	Attachment cni.Attachment `json:"attachment"`
}

// Complete tells whether the hint names an attachment.
func (h Hint) Complete() bool { return h.Attachment.ContainerID != "" }

// Send sends the hint to the birdd of the state folder, if there is one. It never waits and never fails:
// a birdd that does not run, or does not keep up, finds out by itself.
func Send(stateDir string, h Hint) { datagram.Send(filepath.Join(stateDir, SocketName), h) }

// Listener receives hints.
type Listener = datagram.Listener[Hint]

// Listen makes birdd's socket in the state folder, in the place of the one that an earlier birdd left.
func Listen(stateDir string) (*Listener, error) {
	return datagram.Listen[Hint](filepath.Join(stateDir, SocketName))
}
