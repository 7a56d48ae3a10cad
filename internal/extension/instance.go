// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/emptypb"
)

// instance is an extension that runs.
type instance struct {
	*process
	version int
	socket  string
	tls     *tls.Config
	server  []byte // the extension's certificate
	conn    *grpc.ClientConn
	client  any
	says    *says
	since   time.Time
	cancel  context.CancelFunc // of what goes on while it runs
}

// connect completes the instance once it answers.
func (s *Supervisor) connect(ctx context.Context, i *instance) (err error) {
	i.conn, err = dial(i.socket, i.tls, s.o.Metrics.observe(s.id))
	if err != nil {
		return err
	}
	var life context.Context
	life, i.cancel = context.WithCancel(context.Background())
	var p peer.Peer
	err = ping(ctx, i.conn, s.start, grpc.Peer(&p))
	if err == nil {
		i.server = p.AuthInfo.(credentials.TLSInfo).State.PeerCertificates[0].Raw
		i.client, err = dispense(life, s.o.Kind, i.version, i.conn)
	}
	if err != nil {
		i.close()
		return err
	}
	go follow(life, i.conn, i.says)
	return nil
}

// close ends the connection.
func (i *instance) close() {
	i.cancel()
	i.conn.Close()
}

// shutdown has go-plugin's server return from Serve. The error tells nothing: the server ends in the middle of the call.
func (i *instance) shutdown(ctx context.Context) {
	i.conn.Invoke(ctx, "/plugin.GRPCController/Shutdown", &emptypb.Empty{}, &emptypb.Empty{})
}

// dial returns a connection that is made with the first call.
func dial(socket string, config *tls.Config, observe grpc.DialOption) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("unix:"+socket, observe,
		grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second,
			Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 2, MaxDelay: time.Second}}))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", socket, err)
	}
	return conn, nil
}

// dispense returns the contract's client.
func dispense(life context.Context, kind Kind, version int, conn *grpc.ClientConn) (any, error) {
	p, ok := kind.Versions[version][kind.Name].(plugin.GRPCPlugin)
	if !ok {
		return nil, fmt.Errorf("it speaks version %d of the %s contract, which is not known here: bring both to one release", version, kind.Name)
	}
	return p.GRPCClient(life, nil, conn)
}

// ping returns an error unless the extension says within the limit that it serves.
func ping(ctx context.Context, conn *grpc.ClientConn, limit time.Duration, options ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	request := &grpc_health_v1.HealthCheckRequest{Service: plugin.GRPCServiceName}
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, request, options...)
	if err != nil {
		return fmt.Errorf("it does not answer: %w", err)
	}
	if answer.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("it says of itself: %s", answer.Status)
	}
	return nil
}
