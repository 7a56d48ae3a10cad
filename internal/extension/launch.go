// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
)

// launch starts the extension and returns when it answers. Of go-plugin's client this has the start and the handshake:
// the rest of it waits without a limit for an extension that hangs, and keeps what it opened for one that fails.
func (s *Supervisor) launch(ctx context.Context) (*instance, error) {
	path, err := s.o.Dir.Find(s.o.Kind.Name, s.o.Name)
	if err != nil {
		return nil, err
	}
	if err := tidy(s.folder); err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	says := newSays(s.log)
	c, err := newChild(path, s.stderr(says))
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	defer context.AfterFunc(ctx, c.kill)()
	i, err := s.shake(c)
	if err == nil {
		i.says, i.since = says, time.Now().UTC().Truncate(time.Second)
		err = s.connect(ctx, i)
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", path, explain(c, err, says))
	}
	return i, nil
}

// stderr returns where the extension's standard error goes, nil for the daemon's own.
func (s *Supervisor) stderr(says io.Writer) io.Writer {
	if s.o.Outlive {
		return nil
	}
	return says
}

// shake starts the child and has the handshake with it.
func (s *Supervisor) shake(c *child) (*instance, error) {
	own, err := newCertificate()
	if err != nil {
		return nil, err
	}
	config := s.clientConfig(c, own)
	client := plugin.NewClient(config)
	addr, err := client.Start()
	if err != nil {
		return nil, err
	}
	socket, ok := addr.(*net.UnixAddr)
	if !ok || !strings.HasPrefix(socket.Name, s.folder+"/") {
		return nil, fmt.Errorf("it listens at %s: it has to at a unix socket in the folder that %s names", addr, plugin.EnvUnixSocketDir)
	}
	if config.TLSConfig.RootCAs == nil {
		return nil, errors.New("it has no certificate: it has to keep go-plugin's AutoMTLS")
	}
	config.TLSConfig.Time = frozen(time.Now()) // it has just made the certificate
	return &instance{process: &c.process, version: client.NegotiatedVersion(), socket: socket.Name, tls: config.TLSConfig}, nil
}

// clientConfig has what AutoMTLS would set, with a certificate that is valid at any time.
func (s *Supervisor) clientConfig(c *child, own tls.Certificate) *plugin.ClientConfig {
	return &plugin.ClientConfig{
		HandshakeConfig:  s.o.Kind.Handshake,
		VersionedPlugins: s.o.Kind.Versions,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		TLSConfig:        newConfig(own),
		SkipHostEnv:      true,
		StartTimeout:     s.start,
		Logger:           hclog.NewNullLogger(),
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: s.folder},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
			c.cmd.Env = append(append(s.env(), cmd.Env...), plugin.EnvUnixSocketDir+"="+s.folder, clientCert(own))
			return c, nil
		},
	}
}

// env returns what the extension's environment has besides what go-plugin puts there.
func (s *Supervisor) env() []string {
	env := []string{"TMPDIR=" + s.folder}
	for _, key := range []string{"PATH", "TZ"} {
		if value, set := os.LookupEnv(key); set {
			env = append(env, key+"="+value)
		}
	}
	return append(env, s.o.Env...)
}

// explain ends a child that could not be started, and returns why it could not: how it ended, if it did by itself.
func explain(c *child, err error, says *says) error {
	if c.pid == 0 {
		c.close()
		return err
	}
	c.end()
	if c.how != killed {
		err = fmt.Errorf("it ended before it answered: %s", c.how)
	}
	return quote(err, says)
}

// quote adds what an extension said last to the reason why it is down.
func quote(err error, says *says) error {
	if words := says.words(); words != "" {
		return fmt.Errorf("%w; it said: %s", err, words)
	}
	return err
}
