// SPDX-License-Identifier: Apache-2.0

package speaker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"flock.fritzlab.net/flock/plugins/speaker/proto"
)

// client is a speaker in another process.
type client struct{ rpc proto.SpeakerClient }

// NewClient returns the speaker at the other end of the connection. An answer that makes no sense is an error.
func NewClient(conn grpc.ClientConnInterface) Speaker { return client{proto.NewSpeakerClient(conn)} }

// Configure is [Speaker.Configure].
func (c client) Configure(ctx context.Context, config Config) error {
	out, err := c.rpc.Configure(ctx, &proto.ConfigureRequest{Config: encodeConfig(config)})
	if err != nil {
		return fmt.Errorf("configure the speaker: %w", plain(ctx, err))
	}
	if r := out.GetRefusal(); r != nil {
		return &RefusedError{r.GetField(), r.GetReason()}
	}
	return nil
}

// Status is [Speaker.Status].
func (c client) Status(ctx context.Context, announced []netip.Prefix) (Status, error) {
	out, err := c.rpc.Status(ctx, &proto.StatusRequest{Announced: texts(announced)})
	if err != nil {
		return Status{}, fmt.Errorf("ask the speaker for its status: %w", plain(ctx, err))
	}
	is, err := decodeStatus(out, announced)
	if err != nil {
		return Status{}, fmt.Errorf("understand the speaker's status: %w", err)
	}
	return is, nil
}

// Stop is [Speaker.Stop].
func (c client) Stop(ctx context.Context, mode StopMode) error {
	in := &proto.StopRequest{Mode: proto.StopMode_STOP_MODE_GRACEFUL}
	if mode == StopNow {
		in.Mode = proto.StopMode_STOP_MODE_NOW
	}
	if _, err := c.rpc.Stop(ctx, in); err != nil {
		return fmt.Errorf("stop the speaker: %w", plain(ctx, err))
	}
	return nil
}

// plain returns an error of gRPC's without its dressing.
func plain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.New(status.Convert(err).Message())
}
