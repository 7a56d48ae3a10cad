// SPDX-License-Identifier: Apache-2.0

package speaker

import (
	"context"
	"os"
	"os/signal"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"flock.fritzlab.net/flock/plugins/speaker/proto"
)

// Kind is the first word of the names of programs that are speakers, and what they serve under in go-plugin's terms.
const Kind = "speaker"

// Handshake tells a program that it was started as a speaker, and not by a human.
var Handshake = plugin.HandshakeConfig{MagicCookieKey: "FLOCK_EXTENSION", MagicCookieValue: Kind}

// StateDirEnv names, in a speaker's environment, the folder for what has to outlive its process and nothing else: a reboot of
// the node empties it. Where it is not set there is none.
const StateDirEnv = "FLOCK_STATE_DIR"

// VersionedPlugins has the versions of the contract that birdd speaks.
var VersionedPlugins = versions(nil)

func versions(s *server) map[int]plugin.PluginSet {
	return map[int]plugin.PluginSet{1: {Kind: &glue{server: s}}}
}

// glue is the contract as go-plugin knows it; server is nil where it calls.
type glue struct {
	plugin.NetRPCUnsupportedPlugin
	server *server
}

// GRPCServer serves the speaker.
func (g *glue) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	proto.RegisterSpeakerServer(s, g.server)
	return nil
}

// GRPCClient returns the [Speaker] at the other end of the connection.
func (g *glue) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return NewClient(conn), nil
}

// termPatience is how long a speaker that is told to end by SIGTERM may take to end its sessions.
const termPatience = 5 * time.Second

// Serve serves the speaker to birdd until birdd ends it, and is the last thing that main does. SIGTERM ends the sessions as
// for a restart, and the process. What is written to standard output is lost; a log that was made before goes to
// standard error as it was, and writing it does no harm when nobody reads it any more.
func Serve(s Speaker) {
	signal.Ignore(unix.SIGPIPE) // of a standard error that went with birdd
	served := &server{speaker: s}
	go endBySignal(served)
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  Handshake,
		VersionedPlugins: versions(served),
		GRPCServer:       plugin.DefaultGRPCServer,
		Logger:           hclog.New(&hclog.LoggerOptions{Output: os.Stderr, JSONFormat: true, Level: hclog.Warn}),
	})
}

func endBySignal(s *server) {
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	<-term
	ctx, cancel := context.WithTimeout(context.Background(), termPatience)
	defer cancel()
	if err := s.stop(ctx, StopGraceful); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}
