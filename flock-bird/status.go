// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"flock.fritzlab.net/flock/internal/birdctl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

const (
	// controlSocket is the name of BIRD's control socket in stateDir, speakerNote that of the file where birdd notes
	// which speaker has the node's sessions.
	controlSocket = "bird.ctl"
	speakerNote   = "birdd-speaker"
	// patience is how long BIRD may take to answer; it answers in a millisecond, or is busy for long.
	patience = 2 * time.Second
)

// status is 50 when the store, without which ADD fails, does not open, and 51 when BIRD is to announce
// and does not: it does not answer, or has BGP sessions of which none is up.
//
// No control socket is no error: the node has no BIRD yet, or for good, because another speaker
// reads the table. Nor is a BIRD without any BGP session, or one that is not the node's speaker: birdd's node condition
// says how its sessions are.
func status(ctx context.Context, req *cni.StatusRequest[config]) error {
	err := req.Conf.store().View(func(*store.Tx) error { return nil })
	if err != nil {
		return cni.Wrap(types.ErrPluginNotAvailable, fmt.Errorf("look into the store: %w", err))
	}
	return cni.Wrap(types.ErrLimitedConnectivity, sessions(ctx, filepath.Join(req.Conf.stateDir, controlSocket)))
}

// sessions returns an error unless one of BIRD's BGP sessions is up, or none is expected to be.
func sessions(ctx context.Context, socket string) error {
	if _, err := os.Lstat(socket); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if name, err := os.ReadFile(filepath.Join(filepath.Dir(socket), speakerNote)); err == nil && string(name) != "bird\n" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := birdctl.Dial(ctx, socket)
	if err != nil {
		return fmt.Errorf("ask BIRD for its BGP sessions: %w", err)
	}
	defer conn.Close()
	protocols, err := conn.ShowProtocols(ctx)
	if err != nil {
		return fmt.Errorf("ask BIRD for its BGP sessions: %w", err)
	}
	return judge(protocols)
}

func judge(protocols []birdctl.Protocol) error {
	down := 0
	for _, p := range protocols {
		if p.Established() {
			return nil
		}
		if p.Type == "BGP" {
			down++
		}
	}
	if down == 0 {
		return nil
	}
	return fmt.Errorf("look at BIRD's BGP sessions: none of %d is established, so no router knows the way to this node's pods", down)
}
