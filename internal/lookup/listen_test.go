// SPDX-License-Identifier: Apache-2.0

package lookup

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"flock.fritzlab.net/flock/plugins/cni"
)

// serve runs a server at the socket and returns what stops it.
func serve(t testing.TB, socket string, s Server) (stop func()) {
	t.Helper()
	listener, err := Listen(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, listener) }()
	stop = func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run() = %v", err)
			}
		case <-time.After(time.Second):
			t.Error("Run() has not returned a second after its context")
		}
	}
	t.Cleanup(cancel)
	return stop
}

func image(name string) Handler {
	return func(context.Context, cni.Pod) (Answer, error) { return Answer{Image: name}, nil }
}

// never waits until the client or the server gives up.
func never(ctx context.Context, _ cni.Pod) (Answer, error) {
	<-ctx.Done()
	return Answer{}, ctx.Err()
}

func TestListenReplaces(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "run", "s")
	for _, name := range []string{"first", "second", "third"} {
		// The one before still listens when the next one begins.
		serve(t, socket, Server{Handle: image(name), Limit: 1})
		info, err := os.Stat(socket)
		if err != nil || info.Mode() != fs.ModeSocket|0o600 {
			t.Errorf("%s: mode %v, %v", name, info, err)
		}
		if got, err := AskAtOnce(within(t, 10*time.Second), socket, web); err != nil || got.Image != name {
			t.Errorf("answer %q, %v, want that of the %s", got.Image, err, name)
		}
	}
	if _, err := os.Stat(socket + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a name is left over: %v", err)
	}
}

func TestListenInTheWay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), filepath.Join(file, "s")); err == nil || !strings.Contains(err.Error(), "listen for lookups") {
		t.Errorf("Listen() = %v", err)
	}
}

// TestStopHangsUp: who waits at a daemon that is stopped asks the next one.
func TestStopHangsUp(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	asked := make(chan bool)
	stop := serve(t, socket, Server{Limit: 1, Handle: func(ctx context.Context, pod cni.Pod) (Answer, error) {
		close(asked)
		return never(ctx, pod)
	}})
	answered := make(chan error, 1)
	go func() {
		answer, err := Ask(within(t, 10*time.Second), socket, web)
		if err == nil && answer.Image != "second" {
			err = errors.New(answer.Image)
		}
		answered <- err
	}()
	<-asked
	stop()
	serve(t, socket, Server{Handle: image("second"), Limit: 1})
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// TestStopWithSilentClients: neither one that asks nothing nor one that does not read holds the daemon up.
func TestStopWithSilentClients(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	large := map[string]string{"k": strings.Repeat("x", 2<<20)}
	served := make(chan bool)
	stop := serve(t, socket, Server{Limit: 2, Handle: func(context.Context, cni.Pod) (Answer, error) {
		close(served)
		return Answer{Annotations: large}, nil
	}})
	for _, question := range []string{"", `{"namespace":"a","name":"b"}` + "\n"} {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, question); err != nil {
			t.Fatal(err)
		}
	}
	<-served
	stop()
}

// TestClientThatDoesNotRead gives its place back when its time is over.
func TestClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	large := map[string]string{"k": strings.Repeat("x", 2<<20)}
	serve(t, socket, Server{Limit: 1, Handle: func(_ context.Context, pod cni.Pod) (Answer, error) {
		if pod == web {
			return Answer{}, nil
		}
		return Answer{Annotations: large}, nil
	}})
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, `{"namespace":"a","name":"b"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := Ask(within(t, writeTime+5*time.Second), socket, web); err != nil {
		t.Error(err)
	}
}

// TestLimit: clients beyond the limit wait, and are served when there is room.
func TestLimit(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	inside := make(chan bool, 3)
	leave := make(chan bool)
	serve(t, socket, Server{Limit: 2, Handle: func(context.Context, cni.Pod) (Answer, error) {
		inside <- true
		<-leave
		return Answer{}, nil
	}})
	answered := make(chan error)
	for range 3 {
		go func() {
			_, err := Ask(within(t, 10*time.Second), socket, web)
			answered <- err
		}()
	}
	<-inside
	<-inside
	select {
	case <-inside:
		t.Error("a third client is served, the limit is 2")
	case <-time.After(50 * time.Millisecond):
	}
	close(leave)
	for range 3 {
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}
}

// TestTalkativeClient: more than a question ends the wait, so that nobody can keep the server reading.
func TestTalkativeClient(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	asked := make(chan bool)
	serve(t, socket, Server{Limit: 1, Handle: func(ctx context.Context, pod cni.Pod) (Answer, error) {
		close(asked)
		return never(ctx, pod)
	}})
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, `{"namespace":"a","name":"b","waitMs":10000}`+"\n"); err != nil {
		t.Fatal(err)
	}
	<-asked
	if _, err := io.WriteString(conn, "more"); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// The server closes with what it has not read: after the answer that is a reset.
	if got, err := io.ReadAll(conn); !strings.Contains(string(got), codeWaitExpired) {
		t.Errorf("answer %q, %v", got, err)
	}
}

// BenchmarkAsk is one lookup of a pod that is known, over the socket.
func BenchmarkAsk(b *testing.B) {
	socket := filepath.Join(b.TempDir(), "s")
	annotations := map[string]string{"flock.fritzlab.net/cidr6": "2001:db8::/80", "flock.fritzlab.net/anycast": "2001:db8:a::53"}
	serve(b, socket, Server{Limit: 16, Handle: func(context.Context, cni.Pod) (Answer, error) { return Answer{Annotations: annotations}, nil }})
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	for b.Loop() {
		if _, err := Ask(ctx, socket, web); err != nil {
			b.Fatal(err)
		}
	}
}
