// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// local is an address that the kernel knows the route to in every network namespace whose lo is up.
var local = netip.MustParseAddr("127.0.0.1")

func dial(t *testing.T) *Conn {
	t.Helper()
	c, err := Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestAskNothing(t *testing.T) {
	if answers, err := dial(t).Ask(); answers != nil || err != nil {
		t.Errorf("Ask() = %v, %v", answers, err)
	}
}

// nonsense returns a request that the kernel refuses.
func nonsense() *Request {
	return NewRequest("look up", "nonsense", unix.RTM_GETROUTE, 0, &nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_INET, Dst_len: 7}})
}

// TestAsk shows that each request gets its own answer, those behind a refused one too.
func TestAsk(t *testing.T) {
	answers, err := dial(t).Ask(RouteTo(local), nonsense(), RouteTo(local))
	if err != nil {
		t.Fatal(err)
	}
	for i, refused := range []bool{false, true, false} {
		if a := answers[i]; (a.Err != nil) != refused || (a.Data == nil) != refused {
			t.Errorf("answer %d is %v, %v, want a refusal: %t", i, a.Data, a.Err, refused)
		}
	}
	if a := answers[1]; !a.Is(unix.EPERM, unix.EINVAL) || a.Is(unix.EPERM) || !strings.HasPrefix(fmt.Sprint(a.Err), "look up nonsense: invalid argument (") {
		t.Errorf("the refusal is %v, want EINVAL with the kernel's words", a.Err)
	}
}

// TestLateAnswers leaves an answer unread, as an exchange that failed does.
func TestLateAnswers(t *testing.T) {
	c := dial(t)
	if _, err := c.send([]*Request{nonsense()}); err != nil {
		t.Fatal(err)
	}
	routes, err := c.Lookup(local)
	if err != nil || len(routes) != 1 || !routes[0].Dst.Contains(local) {
		t.Errorf("Lookup(%s) = %v, %v", local, routes, err)
	}
}

func TestSharedConn(t *testing.T) {
	c := dial(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 200 {
				if routes, err := c.Lookup(local); err != nil || !routes[0].Dst.Contains(local) {
					t.Errorf("Lookup(%s) = %v, %v", local, routes, err)
				}
				if _, err := c.Routes(unix.AF_UNSPEC, Route{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// Whatever the bytes are, they are read or refused.
func FuzzParse(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add(append(make([]byte, unix.SizeofRtMsg), 8, 0, unix.RTA_TABLE, 0, 1, 2, 3, 4))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = ParseRoute(b)
		for _, kind := range []uint16{unix.NLMSG_ERROR, unix.NLMSG_DONE} {
			hdr := syscall.NlMsghdr{Type: kind, Flags: unix.NLM_F_ACK_TLVS}
			_ = NewRequest("read", "bytes", 0, 0).refusal(syscall.NetlinkMessage{Header: hdr, Data: b})
		}
	})
}
