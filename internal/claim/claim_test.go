// SPDX-License-Identifier: Apache-2.0

package claim

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

const (
	alive = "/proc/self/ns/net"
	dead  = "/run/netns/gone"
)

// kernel is a host whose routes are lines "address dev link".
type kernel struct {
	Keeper
	mu     sync.Mutex
	routes map[string]bool
	likely []netip.Addr // what each release is told to expect
}

func newKernel(t *testing.T) *kernel {
	k := &kernel{routes: map[string]bool{}}
	k.Keeper = Keeper{Store: store.Store{Dir: t.TempDir()}, Stage: "test", Undo: func(c Claim) error {
		k.set(c, false)
		return nil
	}}
	return k
}

func (k *kernel) set(c Claim, present bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, addr := range c.Addresses() {
		line := fmt.Sprintf("%s dev %d", addr, c.LinkIndex)
		if delete(k.routes, line); present {
			k.routes[line] = true
		}
	}
}

// String returns the routes and the claims, sorted.
func (k *kernel) String() string {
	var lines []string
	for line := range k.routes {
		lines = append(lines, line)
	}
	all, err := k.All()
	if err != nil {
		return err.Error()
	}
	for a, c := range all {
		lines = append(lines, fmt.Sprintf("%s has %s", a.ContainerID, c.Addresses()))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func attachment(id string) cni.Attachment {
	return cni.Attachment{Network: "flock", ContainerID: id, IfName: "eth0"}
}

// of reads "10.0.0.1 2001:db8::1@lo", where the suffix marks anycast.
func of(link int, netns, addrs string) Claim {
	c := Claim{Link: fmt.Sprint("link", link), LinkIndex: link, Netns: netns, Table: 254}
	for word := range strings.FieldsSeq(addrs) {
		if text, anycast := strings.CutSuffix(word, "@lo"); anycast {
			c.Anycast = append(c.Anycast, netip.MustParseAddr(text))
		} else {
			c.Unicast = append(c.Unicast, netip.MustParseAddr(text))
		}
	}
	return c
}

// step is one thing that happens to an attachment.
type step struct {
	who   string
	claim Claim // to take; none to release
	err   string
}

func take(who string, link int, netns, addrs string) step {
	return step{who: who, claim: of(link, netns, addrs)}
}

func refused(s step, err string) step {
	s.err = err
	return s
}

func release(who string) step { return step{who: who} }

func (k *kernel) do(s step) error {
	if s.claim.LinkIndex == 0 {
		return k.Release(attachment(s.who), nothing, k.likely...)
	}
	return k.Take(attachment(s.who), s.claim, func(*store.Tx) error { return nil }, func() error {
		k.set(s.claim, true)
		return nil
	})
}

func TestTakeAndRelease(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps []step
		want  string
	}{
		{"take", []step{take("a", 2, alive, "10.0.0.1 2001:db8::1")}, "10.0.0.1 dev 2\n2001:db8::1 dev 2\na has [10.0.0.1 2001:db8::1]"},
		{"take twice", []step{take("a", 2, alive, "10.0.0.1"), take("a", 2, alive, "10.0.0.1")}, "10.0.0.1 dev 2\na has [10.0.0.1]"},
		{"release", []step{take("a", 2, alive, "10.0.0.1"), release("a")}, ""},
		{"release twice", []step{take("a", 2, alive, "10.0.0.1"), release("a"), release("a")}, ""},
		{"release before", []step{release("a")}, ""},
		{"other addresses", []step{take("a", 2, alive, "10.0.0.1 10.0.0.2"), take("a", 2, alive, "10.0.0.2 10.0.0.3")},
			"10.0.0.2 dev 2\n10.0.0.3 dev 2\na has [10.0.0.2 10.0.0.3]"},
		{"other link", []step{take("a", 2, alive, "10.0.0.1 10.9.9.9@lo"), take("a", 3, alive, "10.0.0.1 10.9.9.9@lo")},
			"10.0.0.1 dev 3\n10.9.9.9 dev 3\na has [10.0.0.1 10.9.9.9]"},
		{"taken", []step{take("a", 2, alive, "10.0.0.1"), refused(take("b", 3, alive, "10.0.0.2 10.0.0.1"), "10.0.0.1 belongs to attachment flock/a/eth0")},
			"10.0.0.1 dev 2\na has [10.0.0.1]"},
		{"unicast of an anycast one", []step{take("a", 2, alive, "10.0.0.1@lo"), refused(take("b", 3, alive, "10.0.0.1"), "belongs to attachment flock/a/eth0")},
			"10.0.0.1 dev 2\na has [10.0.0.1]"},
		{"anycast of a unicast one", []step{take("a", 2, alive, "10.0.0.1"), refused(take("b", 3, alive, "10.0.0.1@lo"), "belongs to attachment flock/a/eth0")},
			"10.0.0.1 dev 2\na has [10.0.0.1]"},
		{"anycast shared", []step{take("a", 2, alive, "10.9.9.9@lo"), take("b", 3, alive, "10.9.9.9@lo")},
			"10.9.9.9 dev 2\n10.9.9.9 dev 3\na has [10.9.9.9]\nb has [10.9.9.9]"},
		{"anycast shared, one gone", []step{take("a", 2, alive, "10.9.9.9@lo"), take("b", 3, alive, "10.9.9.9@lo"), release("a")},
			"10.9.9.9 dev 3\nb has [10.9.9.9]"},
		{"anycast shared over a bridge, one gone", []step{take("a", 2, alive, "10.9.9.9@lo"), take("b", 2, alive, "10.9.9.9@lo"), release("a")},
			"10.9.9.9 dev 2\nb has [10.9.9.9]"},
		{"anycast shared over a bridge, both gone", []step{take("a", 2, alive, "10.9.9.9@lo"), take("b", 2, alive, "10.9.9.9@lo"), release("a"), release("b")}, ""},
		{"of the dead, over a bridge", []step{take("a", 2, dead, "10.0.0.1"), take("b", 2, alive, "10.0.0.1")},
			"10.0.0.1 dev 2\na has [10.0.0.1]\nb has [10.0.0.1]"},
		{"of the dead, whose DEL comes late", []step{take("a", 2, dead, "10.0.0.1 10.0.0.2"), take("b", 2, alive, "10.0.0.1"), release("a")},
			"10.0.0.1 dev 2\nb has [10.0.0.1]"},
		{"of the dead, and gone first", []step{take("a", 2, dead, "10.0.0.1"), take("b", 2, alive, "10.0.0.1"), release("b"), release("a")}, ""},
	} {
		// Whatever a release is told to expect, it does the same.
		for _, likely := range []string{"", "10.0.0.1", "192.0.2.1 10.9.9.9 10.0.0.2 10.0.0.1"} {
			t.Run(tt.name+"/"+likely, func(t *testing.T) {
				k := newKernel(t)
				k.likely = of(0, "", likely).Unicast
				for _, s := range tt.steps {
					err := k.do(s)
					if (err == nil) != (s.err == "") || err != nil && !strings.Contains(err.Error(), s.err) {
						t.Fatalf("%v: %v, want %q", s, err, s.err)
					}
				}
				if diff := cmp.Diff(tt.want, k.String()); diff != "" {
					t.Errorf("routes and claims (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestReleaseLooksOnce: a release that knows the addresses beforehand reads the store once.
func TestReleaseLooksOnce(t *testing.T) {
	k := newKernel(t)
	for likely, want := range map[string]int{"10.0.0.1 10.0.0.2": 1, "10.0.0.2": 2, "": 2} {
		looks := 0
		guess := func(*store.Tx) (Claim, error) {
			looks++
			return of(2, alive, "10.0.0.1"), nil
		}
		if err := k.Release(attachment("a"), guess, of(0, "", likely).Unicast...); err != nil || looks != want {
			t.Errorf("%q: looked %d times, %v; want %d", likely, looks, err, want)
		}
	}
}

// TestAllocated holds flock-ipam's word above all: what it allocated to another is not taken, dead or not.
func TestAllocated(t *testing.T) {
	k := newKernel(t)
	addr := netip.MustParseAddr("10.0.0.1")
	err := k.Store.Update(func(tx *store.Tx) error {
		return tx.Put(store.Allocation{Attachment: attachment("a"), Netns: dead, Addresses: []netip.Addr{addr}})
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, addrs := range []string{"10.0.0.1", "10.0.0.1@lo"} {
		err := k.do(take("b", 3, alive, addrs))
		if taken := (*store.TakenError)(nil); !errors.As(err, &taken) || taken.Owner != attachment("a") || Code(err) != cni.CodeAddressTaken {
			t.Errorf("take %s: %v, want that it is a's", addrs, err)
		}
	}
	k.set(of(2, alive, "10.0.0.1"), true)
	guess := func(*store.Tx) (Claim, error) { return of(2, alive, "10.0.0.1"), nil }
	if err := k.Release(attachment("b"), guess); err != nil || len(k.routes) != 1 {
		t.Errorf("release by b: %v, %v, want a's route kept", err, k.routes)
	}
	if err := k.Release(attachment("a"), guess); err != nil || len(k.routes) != 0 {
		t.Errorf("release by a: %v, %v, want no route", err, k.routes)
	}
}

// TestOrder shows that there is never an effect without a claim, so that none is left when a process is
// killed between two steps.
func TestOrder(t *testing.T) {
	k := newKernel(t)
	claimed := func() bool {
		_, found, err := k.Get(attachment("a"))
		return found && err == nil
	}
	c := of(2, alive, "10.0.0.1")
	failed := errors.New("the kernel says no")
	err := k.Take(attachment("a"), c, func(*store.Tx) error { return nil }, func() error {
		if !claimed() {
			t.Error("the route comes before the claim")
		}
		return failed
	})
	if !errors.Is(err, failed) || Code(err) != cni.CodeKernel || !claimed() {
		t.Errorf("Take = %v (claimed: %t), want the kernel's error and the claim for DEL to find", err, claimed())
	}
	k.Undo = func(Claim) error {
		if !claimed() {
			t.Error("the claim goes before the route")
		}
		return failed
	}
	if err := k.Release(attachment("a"), nothing); !errors.Is(err, failed) || !claimed() {
		t.Errorf("Release = %v (claimed: %t), want the kernel's error and the claim kept", err, claimed())
	}
	err = k.Take(attachment("b"), of(3, alive, "10.0.0.3"), func(*store.Tx) error { return failed }, func() error {
		t.Error("the route comes although the transaction failed")
		return nil
	})
	if !errors.Is(err, failed) {
		t.Errorf("Take = %v, want the transaction's error", err)
	}
}

func TestCollect(t *testing.T) {
	k := newKernel(t)
	for i, who := range []string{"a", "b", "c"} {
		if err := k.do(take(who, i+2, alive, fmt.Sprintf("10.0.0.%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	err := k.Collect(func(a cni.Attachment) bool { return a.ContainerID == "b" })
	if diff := cmp.Diff("10.0.0.1 dev 3\nb has [10.0.0.1]", k.String()); err != nil || diff != "" {
		t.Errorf("Collect: %v; routes and claims (-want +got):\n%s", err, diff)
	}
}

func TestStoreUnreadable(t *testing.T) {
	k := newKernel(t)
	k.Store.Dir += "/file"
	if err := os.WriteFile(k.Store.Dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := k.do(take("a", 2, alive, "10.0.0.1")); Code(err) != cni.CodeStoreUnreadable {
		t.Errorf("Take: code %d: %v, want %d", Code(err), err, cni.CodeStoreUnreadable)
	}
	if err := k.do(release("a")); Code(err) != cni.CodeStoreUnreadable {
		t.Errorf("Release: code %d: %v, want %d", Code(err), err, cni.CodeStoreUnreadable)
	}
}

func TestCode(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want uint
	}{
		{&StoreError{fmt.Errorf("write: %w", store.ErrFull)}, cni.CodeStoreFull},
		{fmt.Errorf("add: %w", &rtnl.ConflictError{}), cni.CodeAddressTaken},
		{&StoreError{&store.TakenError{}}, cni.CodeAddressTaken},
		{errors.New("no buffer space"), cni.CodeKernel},
	} {
		if got := Code(tt.err); got != tt.want {
			t.Errorf("Code(%v) = %d, want %d", tt.err, got, tt.want)
		}
	}
}
