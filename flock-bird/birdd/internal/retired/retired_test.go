// SPDX-License-Identifier: Apache-2.0

package retired

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// node is a node's pools, and the addresses that attachments have.
type node struct {
	*testing.T
	*Pools
	dir  string
	used []netip.Addr
	err  error
}

func newNode(t *testing.T) *node {
	n := &node{T: t, dir: t.TempDir()}
	n.restart()
	return n
}

func (n *node) restart() {
	n.Pools = New(n.dir, func() ([]netip.Addr, error) { return n.used, n.err })
}

func (n *node) use(addrs ...string) {
	n.used = nil
	for _, a := range addrs {
		n.used = append(n.used, netip.MustParseAddr(a))
	}
}

// want checks which pools are retired when the node has those now, both as words.
func (n *node) want(now, retired string) {
	n.Helper()
	var pools []netip.Prefix
	for _, word := range strings.Fields(now) {
		pools = append(pools, netip.MustParsePrefix(word))
	}
	got, err := n.Update(pools)
	if text := strings.Trim(fmt.Sprint(got), "[]"); err != nil || text != retired {
		n.Errorf("with %s now %s is retired, %v, want %s", now, text, err, retired)
	}
}

func TestUpdate(t *testing.T) {
	n := newNode(t)
	n.use("10.1.0.5", "2001:db8:1::5")
	n.want("10.1.0.0/24 2001:db8:1::/64 10.2.0.0/24", "")
	n.want("10.3.0.0/24", "10.1.0.0/24 2001:db8:1::/64")
	n.restart()
	n.want("10.3.0.0/24", "10.1.0.0/24 2001:db8:1::/64")
	n.want("10.1.0.0/24", "2001:db8:1::/64") // it is back
	n.want("10.0.0.0/8", "2001:db8:1::/64")  // and part of another
	n.want("", "10.0.0.0/8 2001:db8:1::/64")
	n.use("10.1.0.5")
	n.want("", "10.0.0.0/8")
	n.use()
	n.want("", "")
	n.use("10.1.0.5", "2001:db8:1::5")
	n.want("", "") // nobody had an address: it is forgotten
}

func TestUnknownAddressesForgetNothing(t *testing.T) {
	n := newNode(t)
	n.use("10.1.0.5")
	n.want("10.1.0.0/24", "")
	n.err = errors.New("the store is locked")
	if _, err := n.Update(nil); !errors.Is(err, n.err) {
		t.Errorf("Update = %v, want %v", err, n.err)
	}
	n.err = nil
	n.want("", "10.1.0.0/24")
}

func TestUnreadableNote(t *testing.T) {
	n := newNode(t)
	if err := os.WriteFile(filepath.Join(n.dir, "birdd-pools"), []byte("10.1.0.0/24\nwhat\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	n.use("10.1.0.5")
	n.want("", "10.1.0.0/24")
}
