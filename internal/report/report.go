// SPDX-License-Identifier: Apache-2.0

// Package report is the datagram by which flock-ipam tells ipamd of a pod whose ADD it refused, for an
// Event on the pod. Nobody waits for it: a runtime repeats a failed ADD, and so its report.
package report

import (
	"path/filepath"
	"strings"

	"flock.fritzlab.net/flock/internal/datagram"
	"flock.fritzlab.net/flock/plugins/cni"
)

// SocketName is the name of ipamd's socket in stateDir.
const SocketName = "ipamd-reports.sock"

// maxMessage is the length of an Event's message. One that quotes an annotation may be far longer.
const maxMessage = 1024

// Report says that a pod's ADD was refused: a JSON object in a datagram of its own.
type Report struct {
	Pod cni.Pod `json:"pod"`
	// Code is the CNI error's code, and Message its message, of 1024 bytes at most.
	Code    uint   `json:"code"`
	Message string `json:"message"`
}

// Complete tells whether the report names a pod and an error.
func (r Report) Complete() bool { return r.Pod.Name != "" && r.Pod.Namespace != "" && r.Code != 0 }

// Send sends the report to the ipamd of the state folder, if there is one. It never waits and never fails.
func Send(stateDir string, r Report) {
	if len(r.Message) > maxMessage {
		const more = "…"
		r.Message = strings.ToValidUTF8(r.Message[:maxMessage-len(more)], "") + more
	}
	datagram.Send(filepath.Join(stateDir, SocketName), r)
}

// Listener receives reports.
type Listener = datagram.Listener[Report]

// Listen makes ipamd's socket in the state folder, in the place of the one that an earlier ipamd left.
func Listen(stateDir string) (*Listener, error) {
	return datagram.Listen[Report](filepath.Join(stateDir, SocketName))
}
