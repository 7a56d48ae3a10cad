// SPDX-License-Identifier: Apache-2.0

package bird

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

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
