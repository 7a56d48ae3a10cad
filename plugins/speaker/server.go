// SPDX-License-Identifier: Apache-2.0

package speaker

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"flock.fritzlab.net/flock/plugins/speaker/proto"
)

// server is a speaker for those who call over gRPC.
type server struct {
	proto.UnimplementedSpeakerServer
	speaker Speaker

	ending  sync.Mutex
	stopped bool
}

// Configure is [Speaker.Configure].
func (s *server) Configure(ctx context.Context, in *proto.ConfigureRequest) (*proto.ConfigureResponse, error) {
	config, err := decodeConfig(in.GetConfig())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	err = s.speaker.Configure(ctx, config)
	if refused := (*RefusedError)(nil); errors.As(err, &refused) {
		return &proto.ConfigureResponse{Refusal: &proto.Refusal{Field: refused.Field, Reason: refused.Reason}}, nil
	}
	return &proto.ConfigureResponse{}, err
}

// Status is [Speaker.Status].
func (s *server) Status(ctx context.Context, in *proto.StatusRequest) (*proto.StatusResponse, error) {
	var d decoder
	announced := each(in.GetAnnounced(), d.prefix)
	if d.err != nil {
		return nil, status.Error(codes.InvalidArgument, d.err.Error())
	}
	is, err := s.speaker.Status(ctx, announced)
	if err != nil {
		return nil, err
	}
	return encodeStatus(is), nil
}

// Stop is [Speaker.Stop].
func (s *server) Stop(ctx context.Context, in *proto.StopRequest) (*proto.StopResponse, error) {
	mode := StopGraceful
	if in.GetMode() == proto.StopMode_STOP_MODE_NOW {
		mode = StopNow
	}
	return &proto.StopResponse{}, s.stop(ctx, mode)
}

// stop stops the speaker once.
func (s *server) stop(ctx context.Context, mode StopMode) error {
	s.ending.Lock()
	defer s.ending.Unlock()
	if s.stopped {
		return nil
	}
	err := s.speaker.Stop(ctx, mode)
	s.stopped = err == nil
	return err
}
