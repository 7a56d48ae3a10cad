// SPDX-License-Identifier: Apache-2.0

package allocator

import (
	"context"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"flock.fritzlab.net/flock/plugins/allocator/proto"
)

// Kind is the first word of the names of programs that are allocators, and what they serve under in go-plugin's terms.
const Kind = "allocator"

// Handshake tells a program that it was started as an allocator, and not by a human.
var Handshake = plugin.HandshakeConfig{MagicCookieKey: "FLOCK_EXTENSION", MagicCookieValue: Kind}

// VersionedPlugins has the versions of the contract that ipamd speaks.
var VersionedPlugins = map[int]plugin.PluginSet{1: {Kind: &Plugin{}}}

// Serve is what an allocator's main does: it serves the allocator to the ipamd that started the program, and returns when
// that ends it. What the program writes to its standard error ends up in ipamd's log. Started by anything but ipamd,
// the program says so and exits.
func Serve(impl Allocator) {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  Handshake,
		VersionedPlugins: map[int]plugin.PluginSet{1: {Kind: &Plugin{Impl: impl}}},
		GRPCServer:       plugin.DefaultGRPCServer,
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, JSONFormat: true}),
	})
}

// Plugin is the contract as go-plugin knows it.
type Plugin struct {
	plugin.NetRPCUnsupportedPlugin
	// Impl is what is served, nil in the daemon.
	Impl Allocator
}

// GRPCServer serves the implementation.
func (p *Plugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	proto.RegisterAllocatorServer(s, &server{impl: p.Impl})
	return nil
}

// GRPCClient returns the [Allocator] at the other end of the connection.
func (p *Plugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return &client{proto.NewAllocatorClient(conn)}, nil
}
