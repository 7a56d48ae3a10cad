// SPDX-License-Identifier: Apache-2.0

package report

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"flock.fritzlab.net/flock/plugins/cni"
)

var pod = cni.Pod{Namespace: "default", Name: "web", UID: "7"}

func TestSendAndReceive(t *testing.T) {
	dir := t.TempDir()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	Send(dir, Report{Code: cni.CodePoolExhausted, Message: "of no pod"})
	for _, want := range []Report{
		{Pod: pod, Code: cni.CodePoolExhausted, Message: "exhausted"},
		{Pod: cni.Pod{Namespace: "default", Name: "other"}, Code: 11},
	} {
		Send(dir, want)
		if got, err := l.Receive(); err != nil || got != want {
			t.Errorf("Receive = %+v, %v, want %+v", got, err, want)
		}
	}
}

// TestLongMessage: it is cut where a character ends.
func TestLongMessage(t *testing.T) {
	dir := t.TempDir()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for pad := range 4 {
		Send(dir, Report{Pod: pod, Code: cni.CodeBadAnnotation, Message: strings.Repeat("x", pad) + strings.Repeat("€", 1<<20)})
		got, err := l.Receive()
		if err != nil {
			t.Fatal(err)
		}
		m := got.Message
		if len(m) > maxMessage || len(m) < maxMessage-4 || !utf8.ValidString(m) || !strings.HasSuffix(m, "€…") {
			t.Errorf("%d bytes: …%q", len(m), m[max(0, len(m)-10):])
		}
	}
}

func TestGarbageIsSkipped(t *testing.T) {
	dir := t.TempDir()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("unixgram", filepath.Join(dir, SocketName))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, text := range []string{"", "{", "{}", `{"pod":{"name":"web"},"code":7}`, `{"pod":{"namespace":"a","name":"web"},"code":-7}`} {
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	want := Report{Pod: pod, Code: 7}
	Send(dir, want)
	if got, err := l.Receive(); err != nil || got != want {
		t.Errorf("Receive = %+v, %v", got, err)
	}
}
