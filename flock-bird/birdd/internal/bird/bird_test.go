// SPDX-License-Identifier: Apache-2.0

package bird

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"flock.fritzlab.net/flock/flock-bird/birdd/internal/reload"
	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/plugins/speaker/speakertest"
	"flock.fritzlab.net/flock/test/lab"
)

// start starts BIRD on the node, with -R where it has run there.
func start(node *lab.Netns, folder string) (speaker.Speaker, func(), error) {
	conf, ran := filepath.Join(folder, "bird.conf"), filepath.Join(folder, "bird.ran")
	var flags []string
	if _, err := os.Stat(ran); err == nil {
		flags = append(flags, "-R")
	}
	if err := errors.Join(Bootstrap(conf), os.WriteFile(ran, nil, 0o600)); err != nil {
		return nil, nil, err
	}
	process, err := node.StartBird(context.Background(), conf, Socket(folder), flags...)
	if err != nil {
		return nil, nil, err
	}
	kill := func() { process.End(context.Background(), os.Kill) }
	return New(Options{Conf: conf, Socket: Socket(folder), Patience: time.Minute}), kill, nil
}

func TestConformance(t *testing.T) {
	speakertest.Run(t, speakertest.Options{Start: start})
}

// TestRetireWithoutBIRD: a BIRD that is started later has no peers.
func TestRetireWithoutBIRD(t *testing.T) {
	dir := t.TempDir()
	s := New(Options{Conf: filepath.Join(dir, "bird.conf"), Socket: Socket(dir), Patience: time.Minute,
		Done: func(o reload.Outcome) { t.Errorf("it tells of %s, of which nobody asked", o) }})
	if err := os.WriteFile(s.Conf, []byte("protocol bgp peer_tor {}"), 0o600); err != nil {
		t.Fatal(err)
	}
	quiet := speaker.Config{Node: "node-1", Table: 7273, RouterID: netip.MustParseAddr("10.0.0.1")}
	for range 2 {
		if runs, err := s.Retire(t.Context(), quiet); runs || err != nil {
			t.Errorf("Retire() = %v, %v", runs, err)
		}
	}
	conf, err := os.ReadFile(s.Conf)
	if err != nil || strings.Contains(string(conf), "peer_tor") || !strings.Contains(string(conf), "kernel table 7273") {
		t.Errorf("bird.conf is %v\n%s", err, conf)
	}
}
