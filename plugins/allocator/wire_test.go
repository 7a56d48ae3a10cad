// SPDX-License-Identifier: Apache-2.0

package allocator

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/hashicorp/go-plugin"
)

// fake answers as the test says.
type fake struct {
	allocate func(context.Context, Request) (netip.Addr, error)
	release  func(Attachment) error
	list     func(node string) ([]Allocation, error)
}

func (f fake) Allocate(ctx context.Context, r Request) (netip.Addr, error) { return f.allocate(ctx, r) }
func (f fake) Release(_ context.Context, a Attachment) error               { return f.release(a) }
func (f fake) List(_ context.Context, node string) ([]Allocation, error)   { return f.list(node) }

// overWire returns the allocator as the daemon has it, behind a connection.
func overWire(t *testing.T, impl Allocator) Allocator {
	t.Helper()
	client, server := plugin.TestPluginGRPCConn(t, false, plugin.PluginSet{Kind: &Plugin{Impl: impl}})
	t.Cleanup(func() { client.Conn.Close(); server.Stop() })
	far, err := client.Dispense(Kind)
	if err != nil {
		t.Fatal(err)
	}
	return far.(Allocator)
}

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

var attachment = Attachment{Node: "n1", ContainerID: "c1", IfName: "eth0"}

var requests = map[string]Request{
	"all of it": {
		Attachment: attachment,
		Pod: Pod{
			Namespace: "default", Name: "web-0", UID: "9f1c",
			Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"flock.fritzlab.net/cidr6": "fd00::/80"},
			Owner: Owner{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "web", UID: "77"},
		},
		Pool: Pool{
			Name: "shared6", Prefix: netip.MustParsePrefix("fd00::/64"),
			Aside: []Range{{addr("fd00::"), addr("fd00::1")}, {addr("fd00::ff"), addr("fd00::ff")}},
		},
		Within: netip.MustParsePrefix("fd00::/80"),
	},
	"a pod of nobody": {
		Attachment: attachment,
		Pool:       Pool{Name: "shared4", Prefix: netip.MustParsePrefix("10.0.0.0/31")},
		Within:     netip.MustParsePrefix("10.0.0.0/31"),
	},
}

func TestAllocateCrosses(t *testing.T) {
	for name, req := range requests {
		t.Run(name, func(t *testing.T) {
			var got Request
			far := overWire(t, fake{allocate: func(_ context.Context, r Request) (netip.Addr, error) {
				got = r
				return r.Within.Addr(), nil
			}})
			given, err := far.Allocate(t.Context(), req)
			if err != nil || given != req.Within.Addr() {
				t.Errorf("got %s, %v", given, err)
			}
			if !reflect.DeepEqual(got, req) {
				t.Errorf("the allocator was asked\n%+v\nwant\n%+v", got, req)
			}
		})
	}
}

func TestReleaseAndListCross(t *testing.T) {
	list := []Allocation{
		{attachment, "shared6", addr("fd00::7"), time.UnixMilli(1700000000123).UTC()},
		{attachment, "shared4", addr("10.0.0.1"), time.Time{}},
	}
	var released Attachment
	var asked string
	far := overWire(t, fake{
		release: func(a Attachment) error { released = a; return nil },
		list:    func(node string) ([]Allocation, error) { asked = node; return list, nil },
	})
	if err := far.Release(t.Context(), attachment); err != nil || released != attachment {
		t.Errorf("released %v: %v", released, err)
	}
	if got, err := far.List(t.Context(), "n1"); err != nil || asked != "n1" || !reflect.DeepEqual(got, list) {
		t.Errorf("listed %v for %s, %v; want %v", got, asked, err, list)
	}
}

func TestErrorsCross(t *testing.T) {
	known := []error{ErrExhausted, ErrRefused, context.Canceled, context.DeadlineExceeded}
	for _, sent := range append([]error{errors.New("the database is away")}, known...) {
		t.Run(sent.Error(), func(t *testing.T) {
			sent := fmt.Errorf("allocate for pod web-0: %w", sent)
			far := overWire(t, fake{
				allocate: func(context.Context, Request) (netip.Addr, error) { return netip.Addr{}, sent },
				release:  func(Attachment) error { return sent },
				list:     func(string) ([]Allocation, error) { return nil, sent },
			})
			_, one := far.Allocate(t.Context(), requests["all of it"])
			_, three := far.List(t.Context(), "n1")
			for _, got := range []error{one, far.Release(t.Context(), attachment), three} {
				if got == nil || got.Error() != sent.Error() {
					t.Errorf("got %v, want the text %q", got, sent)
				}
				for _, k := range known {
					if errors.Is(got, k) != errors.Is(sent, k) {
						t.Errorf("%v is %q: %t", got, k, errors.Is(got, k))
					}
				}
			}
		})
	}
}

// A caller that gives up is told at once, and so is the allocator.
func TestCancelCrosses(t *testing.T) {
	told := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	far := overWire(t, fake{allocate: func(ctx context.Context, _ Request) (netip.Addr, error) {
		cancel()
		<-ctx.Done()
		close(told)
		return netip.Addr{}, ctx.Err()
	}})
	if _, err := far.Allocate(ctx, requests["all of it"]); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-told
}

func TestAnswerWithoutAddress(t *testing.T) {
	far := overWire(t, fake{allocate: func(context.Context, Request) (netip.Addr, error) { return netip.Addr{}, nil }})
	if given, err := far.Allocate(t.Context(), requests["all of it"]); err == nil {
		t.Errorf("got %s", given)
	}
}
