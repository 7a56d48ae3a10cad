// SPDX-License-Identifier: Apache-2.0

package hint

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/plugins/cni"
)

var (
	come = Hint{Attachment: cni.Attachment{Network: "flock", ContainerID: "abc", IfName: "eth0"}}
	gone = Hint{Attachment: cni.Attachment{Network: "flock", ContainerID: "def", IfName: "eth0"}}
)

func TestSendAndReceive(t *testing.T) {
	dir := t.TempDir()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	Send(dir, come)
	garbage(t, dir)
	Send(dir, gone)
	for _, want := range []Hint{come, gone} {
		got, err := l.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Receive (-want +got):\n%s", diff)
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Receive(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Receive after Close: %v, want that it is closed", err)
	}
}

func garbage(t *testing.T, dir string) {
	t.Helper()
	conn, err := net.Dial("unixgram", filepath.Join(dir, SocketName))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, text := range []string{"", "{", "[]", "{}", `{"attachment":{"containerID":7}}`, strings.Repeat("x", 60<<10)} {
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSendToNobody shows that Send comes back, whether there is nobody or one who does not listen.
func TestSendToNobody(t *testing.T) {
	dir := t.TempDir()
	Send(dir, come)
	Send(filepath.Join(dir, strings.Repeat("long", 50)), come)
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 10_000 {
		Send(dir, come)
	}
}

func TestListenAgain(t *testing.T) {
	dir := t.TempDir()
	first, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	second, err := Listen(dir)
	if err != nil {
		t.Fatalf("listen after an earlier birdd: %v", err)
	}
	defer second.Close()
	Send(dir, come)
	if got, err := second.Receive(); err != nil || got != come {
		t.Errorf("Receive = %v, %v", got, err)
	}
	if _, err := Listen("/nowhere"); err == nil {
		t.Error("Listen in no folder: no error")
	}
}
