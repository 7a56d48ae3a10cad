// SPDX-License-Identifier: Apache-2.0

package lookup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/plugins/cni"
)

var web = cni.Pod{Namespace: "default", Name: "web-0", UID: "9f1c"}

// listen serves every connection to a new socket with one function until the test ends.
func listen(t *testing.T, serve func(net.Conn)) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	listenAt(t, socket, serve)
	return socket
}

func listenAt(t *testing.T, socket string, serve func(net.Conn)) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
}

// handled serves with a handler.
func handled(handle Handler) func(net.Conn) {
	return func(conn net.Conn) { Server{Handle: handle}.Serve(context.Background(), conn) }
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestAsk(t *testing.T) {
	want := Answer{Annotations: map[string]string{"a\nb": "{}"}, Image: "sha256:5d"}
	socket := listen(t, handled(func(_ context.Context, pod cni.Pod) (Answer, error) {
		if pod != web {
			return Answer{}, fmt.Errorf("asked for %v", pod)
		}
		return want, nil
	}))
	for name, ask := range map[string]func(context.Context, string, cni.Pod) (Answer, error){"Ask": Ask, "AskAtOnce": AskAtOnce} {
		got, err := ask(within(t, 10*time.Second), socket, web)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestAskWaits lets the pod show up while the client waits for it.
func TestAskWaits(t *testing.T) {
	asked, shown := make(chan bool), make(chan bool)
	socket := listen(t, handled(func(ctx context.Context, _ cni.Pod) (Answer, error) {
		close(asked)
		select {
		case <-shown:
			return Answer{}, nil
		case <-ctx.Done():
			return Answer{}, ctx.Err()
		}
	}))
	go func() {
		<-asked
		close(shown)
	}()
	if _, err := Ask(within(t, 10*time.Second), socket, web); err != nil {
		t.Error(err)
	}
}

func TestWaitExpires(t *testing.T) {
	wait := func(ctx context.Context, pod cni.Pod) (Answer, error) {
		<-ctx.Done()
		return Answer{}, fmt.Errorf("pod %s did not show up: %w", pod, ctx.Err())
	}
	socket := listen(t, handled(wait))
	for name, ask := range map[string]func() (Answer, error){
		"Ask":       func() (Answer, error) { return Ask(within(t, margin+50*time.Millisecond), socket, web) },
		"AskAtOnce": func() (Answer, error) { return AskAtOnce(within(t, 10*time.Second), socket, web) },
	} {
		if _, err := ask(); !errors.Is(err, ErrWaitExpired) {
			t.Errorf("%s = %v, want ErrWaitExpired", name, err)
		}
	}
}

// TestSilentServer must not hold the client longer than its context.
func TestSilentServer(t *testing.T) {
	socket := listen(t, func(net.Conn) {})
	_, err := Ask(within(t, 50*time.Millisecond), socket, web)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a deadline that is exceeded", err)
	}
}

func TestAbsentServer(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none")
	if _, err := Ask(within(t, 50*time.Millisecond), socket, web); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Ask = %v, want fs.ErrNotExist", err)
	}
	if _, err := AskAtOnce(within(t, time.Hour), socket, web); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("AskAtOnce = %v, want fs.ErrNotExist", err)
	}
}

// TestRestartingServer hangs up on the first client as a daemon does that is stopped, and is there for
// the second.
func TestRestartingServer(t *testing.T) {
	first := make(chan bool, 1)
	first <- true
	socket := listen(t, func(conn net.Conn) {
		select {
		case <-first:
			conn.Close()
		default:
			handled(func(context.Context, cni.Pod) (Answer, error) { return Answer{Image: "second"}, nil })(conn)
		}
	})
	got, err := Ask(within(t, 10*time.Second), socket, web)
	if err != nil || got.Image != "second" {
		t.Errorf("Ask = %v, %v", got, err)
	}
}

// TestStartingServer begins to listen after the client has begun to ask.
func TestStartingServer(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	answered := make(chan error)
	ctx := within(t, 10*time.Second)
	go func() {
		_, err := Ask(ctx, socket, web)
		answered <- err
	}()
	listenAt(t, socket, handled(func(context.Context, cni.Pod) (Answer, error) { return Answer{}, nil }))
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// TestHangUp lets the client go while the server waits: the handler must be told.
func TestHangUp(t *testing.T) {
	told := make(chan error, 1)
	socket := listen(t, handled(func(ctx context.Context, _ cni.Pod) (Answer, error) {
		<-ctx.Done()
		told <- ctx.Err()
		return Answer{}, ctx.Err()
	}))
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(conn, `{"namespace":"a","name":"b","waitMs":60000}`)
	conn.Close()
	select {
	case err := <-told:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the handler's context ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the handler was not told")
	}
}

func TestWire(t *testing.T) {
	handle := func(_ context.Context, pod cni.Pod) (Answer, error) {
		switch pod.Name {
		case "known":
			return Answer{Annotations: map[string]string{"k": "v"}, Image: "sha256:5d"}, nil
		case "bare":
			return Answer{}, nil
		case "late":
			return Answer{}, fmt.Errorf("pod %s: %w", pod, ErrWaitExpired)
		}
		return Answer{}, errors.New("the informer has not synced")
	}
	tests := []struct{ name, send, want string }{
		{"known", `{"namespace":"a","name":"known","uid":"1","waitMs":5}`, `{"annotations":{"k":"v"},"image":"sha256:5d"}`},
		{"a key of the future", `{"namespace":"a","name":"known","colour":"red"}`, `{"annotations":{"k":"v"},"image":"sha256:5d"}`},
		{"without annotations", `{"namespace":"a","name":"bare"}`, `{}`},
		{"late", `{"namespace":"a","name":"late"}`, `{"error":{"code":"wait-expired","message":"pod a/late: the pod did not show up in time"}}`},
		{"internal", `{"namespace":"a","name":"other"}`, `{"error":{"code":"internal","message":"the informer has not synced"}}`},
		{"no name", `{"namespace":"a"}`, `{"error":{"code":"bad-request","message":"want a namespace, a name, and a wait that is not negative"}}`},
		{"negative wait", `{"namespace":"a","name":"known","waitMs":-1}`, `{"error":{"code":"bad-request","message":"want a namespace, a name, and a wait that is not negative"}}`},
		{"no JSON", `GET / HTTP/1.1`, `{"error":{"code":"bad-request","message":"invalid character 'G' looking for beginning of value"}}`},
		{"a line without an end", strings.Repeat("x", maxQuestion), `{"error":{"code":"bad-request","message":"a line of more than 8192 bytes"}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, server := net.Pipe()
			done := make(chan error)
			go func() { done <- Server{Handle: handle}.Serve(context.Background(), server) }()
			go fmt.Fprintln(client, tt.send)
			got, _ := bufio.NewReader(client).ReadString('\n')
			if diff := cmp.Diff(tt.want+"\n", got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			<-done
		})
	}
}

func TestAskRefused(t *testing.T) {
	socket := listen(t, handled(func(context.Context, cni.Pod) (Answer, error) { return Answer{}, errors.New("broken") }))
	_, err := Ask(within(t, 10*time.Second), socket, web)
	want := "ask ipamd at " + socket + ": broken (internal)"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestAskNeedsADeadline(t *testing.T) {
	if _, err := Ask(context.Background(), "/nowhere", web); err == nil || !strings.Contains(err.Error(), "no deadline") {
		t.Errorf("got %v", err)
	}
}
