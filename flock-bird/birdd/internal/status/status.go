// SPDX-License-Identifier: Apache-2.0

// Package status shows how the node announces: the sessions as the speaker tells, the routes as the kernel has
// them, and the problems that a running birdd noted.
package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"flock.fritzlab.net/flock/internal/health"
	"flock.fritzlab.net/flock/plugins/speaker"
)

// ProblemsFile is the name of the file in the state folder where birdd notes its problems, a list of [health.Problem] in
// JSON.
const ProblemsFile = "birdd.json"

// Report is the whole of it. Lists are in a stable order.
type Report struct {
	Speaker   Speaker          `json:"speaker"`
	Sessions  []Session        `json:"sessions"`
	Summaries []Summary        `json:"summaries"`
	Addresses []Address        `json:"addresses"`
	Problems  []health.Problem `json:"problems"`
}

// Speaker is the speaker that was asked.
type Speaker struct {
	// Name is the speaker's in the NodeConfig.
	Name     string     `json:"name"`
	Version  string     `json:"version,omitempty"`
	RouterID netip.Addr `json:"routerID,omitzero"`
	// Error is why it did not answer.
	Error string `json:"error,omitempty"`
}

// Session is one BGP session of a peer. An unnumbered peer has one for each router on its link, or one
// that waits.
type Session struct {
	Peer string `json:"peer"`
	// Name is the session's in the speaker's terms.
	Name    string        `json:"name"`
	Address netip.Addr    `json:"address,omitzero"`
	ASN     uint32        `json:"asn"`
	State   speaker.State `json:"state"`
	Since   time.Time     `json:"since,omitzero"`
	// Received counts the prefixes that were taken, Exported those that were sent.
	Received int `json:"received"`
	Exported int `json:"exported"`
	// Families are those that the session carries, with their part of the counts.
	Families  []Family `json:"families,omitempty"`
	LastError string   `json:"lastError,omitempty"`
}

// Family is one address family of a session, "ipv4" or "ipv6".
type Family struct {
	Name     string `json:"name"`
	Received int    `json:"received"`
	Exported int    `json:"exported"`
}

// Summary is one pool's pair of routes.
type Summary struct {
	Prefix netip.Prefix `json:"prefix"`
	// Main is the type of the route in the main table, empty if there is none; Announced tells whether
	// there is one in the announcement table.
	Main      string `json:"main,omitempty"`
	Announced bool   `json:"announced"`
	// SentTo are the sessions whose peers were sent the prefix.
	SentTo []string `json:"sentTo"`
}

// Address is one that is announced alone, or, if it is anycast, may be.
type Address struct {
	Address   netip.Addr `json:"address"`
	Anycast   bool       `json:"anycast"`
	Announced bool       `json:"announced"`
	// Links are those of this node by which the address is announced.
	Links []string `json:"links"`
	// Pods have the address, announced by their link or not, as namespace/name. See [Report.AskStore].
	Pods []string `json:"pods,omitempty"`
}

// patience is how long a speaker may take to answer everything.
const patience = 5 * time.Second

// Asked is the speaker to ask, or why it cannot be.
type Asked struct {
	Name    string
	Speaker speaker.Speaker
	Err     error
}

// Collect asks the speaker and the kernel. A speaker that does not answer is part of the report, not an error.
func Collect(ctx context.Context, asked Asked, stateDir string, table uint32) (*Report, error) {
	r := &Report{Speaker: Speaker{Name: asked.Name}, Sessions: []Session{}}
	var err error
	if r.Problems, err = readProblems(filepath.Join(stateDir, ProblemsFile)); err != nil {
		return nil, err
	}
	if err := r.askKernel(table); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := r.askSpeaker(ctx, asked); err != nil {
		r.Speaker.Error = err.Error()
	}
	return r, nil
}

// readProblems returns none where birdd has never run.
func readProblems(path string) ([]health.Problem, error) {
	text, err := os.ReadFile(path)
	all := []health.Problem{}
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read birdd's problems: %w", err)
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("read birdd's problems from %s: %w", path, err)
	}
	return all, nil
}
