// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/rest"

	"flock.fritzlab.net/flock/test/apiserver/pki"
	"flock.fritzlab.net/flock/test/lab"
)

// Server is one kube-apiserver with its etcd.
type Server struct {
	bin, dir string
	hold     *os.File // closing it removes dir
	port     int
	reserved int // a socket that keeps the port ours while the server is stopped
	ca       *pki.Authority
	config   *rest.Config
	shared   bool
	crds     sync.Once

	mu        sync.Mutex // of what follows
	etcd, api *process
	started   time.Time // of api
}

// startLimit bounds how long a program may take to start on a busy machine.
const startLimit = 2 * time.Minute

// Start returns the server that all tests of this process share; it runs until the process ends, and is started
// again where a test left it stopped. When the test fails, the last lines of the server's logs are part of its output.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := shared()
	check(t, err)
	s.logFailure(t)
	s.Resume(t)
	return s
}

var shared = sync.OnceValues(func() (*Server, error) {
	s, err := launch()
	if err == nil {
		s.shared = true
	}
	return s, err
})

// New returns a server of the test's own, which ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	s, err := launch()
	check(t, err)
	t.Cleanup(s.end)
	s.logFailure(t)
	return s
}

func (s *Server) logFailure(t testing.TB) {
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		t.Logf("etcd said last:\n%s\nkube-apiserver said last:\n%s", s.etcd.lastWords(), s.api.lastWords())
	})
}

// launch returns a server that answers, or none.
func launch() (*Server, error) {
	ctx := context.Background()
	s := &Server{}
	var err error
	if s.bin, err = Build(ctx); err != nil {
		return nil, err
	}
	if s.dir, s.hold, err = folder(); err != nil {
		return nil, err
	}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(err, s.hold.Close())
	}
	if err := s.startEtcd(ctx); err != nil {
		s.end()
		return nil, err
	}
	if err := s.resume(ctx); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// prepare makes what the programs need before they start: a port, keys and the files that hold them.
func (s *Server) prepare() (err error) {
	if s.port, s.reserved, err = reserve(); err != nil {
		return err
	}
	if s.ca, err = pki.New(); err != nil {
		return err
	}
	server, err := s.ca.Server(netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		return err
	}
	tokens, err := s.ca.User("service-accounts") // only its key is of use
	if err != nil {
		return err
	}
	admin, err := s.ca.User("admin", "system:masters")
	if err != nil {
		return err
	}
	s.config = s.newConfig(admin, "")
	for name, content := range map[string][]byte{
		"ca.crt": s.ca.Cert, "server.crt": server.Cert, "server.key": server.Key, "tokens.key": tokens.Key, "audit.yaml": []byte(auditPolicy),
	} {
		if err := os.WriteFile(s.file(name), content, 0o600); err != nil {
			return fmt.Errorf("prepare the API server: %w", err)
		}
	}
	return nil
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }

// reserve returns a port of 127.0.0.1 that no other program gets while the socket is open. It is bound and does not
// listen; kube-apiserver shares the port.
func reserve() (port, socket int, err error) {
	socket, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if err == nil {
		err = unix.Bind(socket, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err != nil {
		return 0, 0, fmt.Errorf("reserve a port for the API server: %w", err)
	}
	name, err := unix.Getsockname(socket)
	if err != nil {
		return 0, 0, fmt.Errorf("reserve a port for the API server: %w", err)
	}
	return name.(*unix.SockaddrInet4).Port, socket, nil
}

// await waits until the program answers.
func (s *Server) await(ctx context.Context, p *process, answers func(context.Context) error) error {
	return lab.Within(ctx, startLimit, p.cmd.Path+" answers", func() error {
		if !p.running() {
			return fmt.Errorf("it ended: %s", p.lastWords())
		}
		return answers(ctx)
	})
}

// Stop kills kube-apiserver; etcd runs on. Every connection ends and new ones are refused. Stopping a stopped one
// does nothing.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.api != nil {
		s.api.kill()
	}
}

// Freeze lets kube-apiserver answer nothing any more, without ending a connection, until [Server.Thaw].
func (s *Server) Freeze() { s.signal(unix.SIGSTOP) }

// Thaw undoes [Server.Freeze].
func (s *Server) Thaw() { s.signal(unix.SIGCONT) }

func (s *Server) signal(sig unix.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.api.cmd.Process.Signal(sig)
}

// Resume starts kube-apiserver again at the same address, and returns when it is ready.
func (s *Server) Resume(t testing.TB) {
	t.Helper()
	check(t, s.resume(t.Context()))
}

func (s *Server) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.api.running()
}

// startedAt is when kube-apiserver was started last.
func (s *Server) startedAt() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.started
}

// end ends everything.
func (s *Server) end() {
	s.Stop()
	if s.etcd != nil {
		s.etcd.kill()
	}
	unix.Close(s.reserved)
	s.hold.Close()
}
