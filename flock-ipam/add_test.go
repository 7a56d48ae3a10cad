// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"flock.fritzlab.net/flock/flock-ipam/internal/config"
	"flock.fritzlab.net/flock/plugins/cni"
)

// dual are pools that give one address each, so that results are the same each time.
var dual = []any{
	object{"cidr": "2001:db8::/64", "reserved": []string{"2001:db8::3-2001:db8:0:0:ffff:ffff:ffff:ffff"}},
	object{"cidr": "10.0.0.0/24", "reserved": []string{"10.0.0.3-10.0.0.254"}},
}

func TestOriginating(t *testing.T) {
	n := newNode(t, object{"pools": dual})
	n.annotate("anycast=2001:db8:a::1,192.0.2.1")
	n.add("a", `interface lo sandbox=true
ip 2001:db8::2/128 gw fe80::1
ip 10.0.0.2/32 gw 169.254.1.1
ip 2001:db8:a::1/128 on 0
ip 192.0.2.1/32 on 0
route ::/0 via fe80::1
route 0.0.0.0/0 via 169.254.1.1`)
	n.has("flock/a/eth0 pending [2001:db8::2 10.0.0.2 2001:db8:a::1 192.0.2.1]")
}

func TestOriginatingWithoutAnycast(t *testing.T) {
	n := newNode(t, object{"pools": dual})
	n.add("a", `ip 2001:db8::2/128 gw fe80::1
ip 10.0.0.2/32 gw 169.254.1.1
route ::/0 via fe80::1
route 0.0.0.0/0 via 169.254.1.1`)
}

// TestVersions: the same addresses in the form of each version of the specification.
func TestVersions(t *testing.T) {
	n := newNode(t, object{"pools": dual})
	n.annotate("anycast=192.0.2.1")
	for _, version := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		n.conf["cniVersion"] = version
		printed := n.ok("ADD", "a")
		var r struct {
			CNIVersion string
			IPs        []struct{ Version string }
		}
		if err := json.Unmarshal([]byte(printed), &r); err != nil {
			t.Fatal(err)
		}
		want := ""
		if version < "1.0.0" {
			want = "6"
		}
		if r.CNIVersion != version || len(r.IPs) != 3 || r.IPs[0].Version != want {
			t.Errorf("version %s: %s", version, printed)
		}
	}
}

func TestOnLink(t *testing.T) {
	n := newNode(t, nil)
	n.delegated(object{"type": "macvlan", "master": "eth0"}, object{"pools": dual})
	want := `route fe80::1/128 scope 253
route ::/0 via fe80::1
route 169.254.1.1/32 scope 253
route 0.0.0.0/0 via 169.254.1.1`
	ips := "ip 2001:db8::2/128\nip 10.0.0.2/32\n"
	n.add("a", ips+"route 10.0.0.2/32 scope 253\n"+want)
	n.add("a", ips+"route 10.0.0.2/32 scope 253\n"+want)
	n.has("flock/a/eth0 committed [2001:db8::2 10.0.0.2]")

	n.delegated(object{"type": config.FlockVeth}, object{"pools": dual})
	n.add("a", ips+want)
}

func TestSubnet(t *testing.T) {
	n := newNode(t, nil)
	n.delegated(object{"type": "ptp"}, object{"pools": dual})
	want := `ip 2001:db8::2/64 gw 2001:db8::1
ip 10.0.0.2/24 gw 10.0.0.1
route ::/0 via 2001:db8::1
route 0.0.0.0/0 via 10.0.0.1`
	n.add("a", want)
	n.has("flock/a/eth0 committed [2001:db8::2 10.0.0.2]")

	// The pools change under the pod.
	n.delegated(object{"type": "ptp"}, object{"pools": []any{object{"cidr": "10.0.0.0/16", "gateway": "10.0.9.9"}}})
	n.add("a", want)

	// A store that was rebuilt from the kernel knows addresses alone.
	n.delegated(object{"type": "ptp"}, object{"pools": dual})
	n.update(deleteNote("a"))
	n.add("a", want)
	n.delegated(object{"type": "ptp"}, object{"pools": []any{"10.0.0.0/24"}})
	n.refused(cni.CodeNoPool, "not all of its addresses [2001:db8::2 10.0.0.2] lie in a pool", "ADD", "a")
}

func TestProfileByMainPlugin(t *testing.T) {
	n := newNode(t, nil)
	for name, main := range map[string]object{
		"ip 10.0.0.2/24 gw 10.0.0.1\nroute 0.0.0.0/0 via 10.0.0.1":                                                     {"type": "bridge", "isGateway": true},
		"ip 10.0.0.2/32\nroute 10.0.0.2/32 scope 253\nroute 169.254.1.1/32 scope 253\nroute 0.0.0.0/0 via 169.254.1.1": {"type": "bridge"},
	} {
		n.delegated(main, object{"pools": []any{"10.0.0.0/24"}, "coolDown": "0s"})
		n.conf["runtimeConfig"] = object{"ips": []string{"10.0.0.2/24"}}
		n.add("a", name)
		n.ok("DEL", "a")
	}
}

// TestIdempotent: what an attachment has stays, whatever has changed since.
func TestIdempotent(t *testing.T) {
	n := newNode(t, object{"pools": []any{"2001:db8::/64", "10.0.0.0/24"}})
	n.annotate("anycast=192.0.2.1")
	first := n.ok("ADD", "a")
	before := n.allocations()
	for what, change := range map[string]func(){
		"nothing":           func() {},
		"other annotations": func() { n.annotate("ipv6=false", "addresses=10.0.0.99") },
		"a bad annotation":  func() { n.annotate("ipv6=perhaps") },
		"other pools":       func() { n.conf["pools"] = []any{"10.9.0.0/24"} },
		"bad pools":         func() { n.conf["pools"] = []any{"10.9.0.1/24"} },
		"no file":           func() { delete(n.conf, "pools"); n.conf["nodeFile"] = "/nowhere" },
		"no annotations":    func() { delete(n.conf, "runtimeConfig") },
	} {
		change()
		// The daemon is absent, and would be waited for.
		if got := n.ok("ADD", "a", "CNI_ARGS=K8S_POD_NAMESPACE=default;K8S_POD_NAME=web"); got != first {
			t.Errorf("with %s: %s, want %s", what, got, first)
		}
	}
	n.has(before)
}

func TestIPsCapability(t *testing.T) {
	n := newNode(t, object{"pools": []any{"10.0.0.0/24"}})
	n.conf["runtimeConfig"] = object{"ips": []string{"10.0.0.7/16", "2001:db8::9"}}
	n.add("a", `ip 2001:db8::9/128 gw fe80::1
ip 10.0.0.7/32 gw 169.254.1.1
route ::/0 via fe80::1
route 0.0.0.0/0 via 169.254.1.1`)
	n.refused(cni.CodeAddressTaken, "address 2001:db8::9 belongs to attachment flock/a/eth0", "ADD", "b")
	n.conf["runtimeConfig"] = object{"ips": "10.0.0.7"}
	n.refused(types.ErrDecodingFailure, "decode the capability ips", "ADD", "b")
}

func TestNodeFile(t *testing.T) {
	n := newNode(t, nil)
	path := filepath.Join(n.dir, "node.json")
	n.conf["nodeFile"] = path
	n.refused(cni.CodeNoPool, path+": no such file or directory: give the node a NodeConfig", "ADD", "a")
	n.refused(types.ErrPluginNotAvailable, path, "STATUS", "")
	write(t, path, `{"pools": ["10.0.0.0/24"], "defaults": {"ipv6": false}}`)
	n.add("a", "ip 10.0.0.2/32 gw 169.254.1.1\nroute 0.0.0.0/0 via 169.254.1.1")
	write(t, path, `{"pools": [`)
	n.refused(types.ErrInvalidNetworkConfig, "decode "+path+": unexpected EOF", "ADD", "b")
	n.ok("DEL", "a")
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestBadInput: a clear error of the right code each, and nothing made.
func TestBadInput(t *testing.T) {
	taken := "addresses=10.0.0.5"
	tests := []struct {
		name string
		keys object
		pod  []string
		code uint
		text string
	}{
		{name: "unknown key", keys: object{"pool": 1}, code: types.ErrInvalidNetworkConfig, text: `unknown key "pool"`},
		{name: "overlap", keys: object{"pools": []any{"10.0.0.0/8", "10.1.0.0/16"}}, code: types.ErrInvalidNetworkConfig, text: "overlaps"},
		{name: "IPv4-mapped pool", keys: object{"pools": []any{"::ffff:10.0.0.0/104"}}, code: types.ErrInvalidNetworkConfig, text: "IPv4-mapped"},
		{name: "pool with a zone", keys: object{"pools": []any{"fe80::%eth0/64"}}, code: types.ErrInvalidNetworkConfig, text: "is no CIDR"},
		{name: "pool of everything", keys: object{"pools": []any{"::/0"}}, code: types.ErrInvalidNetworkConfig, text: "overlaps"},
		{name: "no pools", keys: object{"pools": []any{}}, code: types.ErrInvalidNetworkConfig, text: "pools is empty"},
		{name: "newline", pod: []string{"ipv6=true\n"}, code: cni.CodeBadAnnotation, text: `"flock.fritzlab.net/ipv6" with value "true\n"`},
		{name: "brace", pod: []string{"cidr4=10.0.0.0/28}"}, code: cni.CodeBadAnnotation, text: `with value "10.0.0.0/28}"`},
		{name: "zone", pod: []string{"addresses=2001:db8::7%eth0"}, code: cni.CodeBadAnnotation, text: "has a zone"},
		{name: "IPv4-mapped address", pod: []string{"addresses=::ffff:10.0.0.7"}, code: cni.CodeBadAnnotation, text: "IPv4-mapped"},
		{name: "unknown annotation", pod: []string{"ipv6s=true"}, code: cni.CodeBadAnnotation, text: "correct it to flock.fritzlab.net/ipv6"},
		{name: "CIDR outside", pod: []string{"cidr4=10.9.0.0/28"}, code: cni.CodeBadAnnotation, text: "lies in none of the node's pools"},
		{name: "reserved address", pod: []string{"addresses=10.0.0.1"}, code: cni.CodeBadAnnotation, text: "is reserved in pool"},
		{name: "anycast in a pool", pod: []string{"anycast=10.0.0.9"}, code: cni.CodeBadAnnotation, text: "reserve it there"},
		{name: "contradiction", pod: []string{"ipv4=false", taken}, code: cni.CodeBadAnnotation, text: "switches off"},
		{name: "family without a pool", pod: []string{"ipv6=true"}, code: cni.CodeNoPool, text: `"flock.fritzlab.net/ipv6" with value "true"`},
		{name: "taken", pod: []string{taken}, code: cni.CodeAddressTaken, text: "address 10.0.0.5 belongs to attachment flock/other/eth0"},
		{name: "exhausted", pod: []string{"cidr4=10.0.0.0/31"}, code: cni.CodePoolExhausted, text: "allocate IPv4 from 10.0.0.0/31 of pool 10.0.0.0/24: exhausted"},
	}
	n := newNode(t, object{"pools": []any{"10.0.0.0/24"}})
	n.annotate(taken)
	n.ok("ADD", "other")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := *n
			m.t, m.conf = t, object{}
			for key, value := range n.conf {
				m.conf[key] = value
			}
			for key, value := range tt.keys {
				m.conf[key] = value
			}
			m.annotate(tt.pod...)
			m.refused(tt.code, tt.text, "ADD", "a")
			m.has("flock/other/eth0 pending [10.0.0.5]")
		})
	}
}

func TestBadCapability(t *testing.T) {
	n := newNode(t, object{"pools": []any{"10.0.0.0/24"}})
	n.conf["runtimeConfig"] = object{capAnnotations: []string{"ipv6"}}
	n.refused(types.ErrDecodingFailure, "decode the capability "+capAnnotations, "ADD", "a")
}

func TestDelegatedAnycast(t *testing.T) {
	n := newNode(t, nil)
	n.delegated(object{"type": "macvlan"}, object{"pools": []any{"10.0.0.0/24"}})
	n.annotate("anycast=192.0.2.1")
	n.refused(cni.CodeBadAnnotation, "anycast needs flock-ipam first in the chain", "ADD", "a")
}

func TestLongContainerID(t *testing.T) {
	n := newNode(t, object{"pools": []any{"10.0.0.0/24"}})
	n.refused(types.ErrInvalidEnvironmentVariables, "CNI_CONTAINERID", "ADD", strings.Repeat("c", 50_000))
	n.ok("DEL", strings.Repeat("c", 50_000))
}

// TestProcesses: many processes at once never share an address, and the pool ends where it must.
func TestProcesses(t *testing.T) {
	t.Parallel()
	const capacity, containers, atOnce = 1000, 1010, 16
	n := newNode(t, object{"pools": []any{
		"10.0.0.0/24", object{"cidr": "10.1.0.0/16", "reserved": []string{"10.1.2.237-10.1.255.255"}}, // 253 and 747
		"2001:db8::/118", // 1022
	}})
	var group sync.WaitGroup
	var mu sync.Mutex
	owners, failed := map[string]string{}, 0
	slots := make(chan bool, atOnce)
	for i := range containers {
		slots <- true
		group.Go(func() {
			defer func() { <-slots }()
			container := fmt.Sprint("c", i)
			out, err := n.call("ADD", container)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				if e, ok := err.(*types.Error); !ok || e.Code != cni.CodePoolExhausted {
					t.Errorf("ADD %s: %v", container, err)
				}
				failed++
				return
			}
			for line := range strings.Lines(draw(t, string(out))) {
				if addr, found := strings.CutPrefix(line, "ip "); found {
					if owner := owners[addr]; owner != "" {
						t.Errorf("%s and %s both have %s", owner, container, addr)
					}
					owners[addr] = container
				}
			}
		})
	}
	group.Wait()
	if len(owners) != 2*capacity || failed != containers-capacity {
		t.Errorf("%d addresses given and %d refused, want %d and %d", len(owners), failed, 2*capacity, containers-capacity)
	}
}

// TestFullDisk: nothing half made, nothing lost, and DEL is not in the way of those who come after.
func TestFullDisk(t *testing.T) {
	n := newNode(t, object{"pools": []any{"10.0.0.0/16"}})
	if err := syscall.Mount("tmpfs", n.dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(n.dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	n.ok("ADD", "a")
	fill(t, filepath.Join(n.dir, "ballast"))
	before, added := n.allocations(), 1
	for ; added < 5000; added++ {
		container := fmt.Sprint("c", added)
		if _, err := n.call("ADD", container); err != nil {
			n.refused(cni.CodeStoreFull, "no space left", "ADD", container)
			break
		}
		before = n.allocations()
	}
	if added == 5000 {
		t.Fatal("the disk never filled")
	}
	n.has(before)
	if err := os.Remove(filepath.Join(n.dir, "ballast")); err != nil {
		t.Fatal(err)
	}
	n.ok("ADD", "b")
	n.ok("DEL", "a")
}

// fill writes a file until there is no room for more.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for err == nil {
		_, err = file.Write(make([]byte, 4096))
	}
}

// TestDamagedStore: it is set aside, and what the kernel shows keeps its addresses.
func TestDamagedStore(t *testing.T) {
	n := newNode(t, object{"pools": dual})
	first := n.ok("ADD", "a")
	for _, args := range []string{
		"link add v1 type veth peer name v2", "link set v1 alias flock:flock/a/eth0", "link set v1 up", "link set v2 up",
		"-6 route add 2001:db8::2 dev v1 proto 72 metric 16", "route add 10.0.0.2 dev v1 proto 72 metric 16",
	} {
		n.ip("host", args)
	}
	write(t, filepath.Join(n.dir, "store.db"), strings.Repeat("garbage ", 4096))
	n.refused(cni.CodePoolExhausted, "exhausted", "ADD", "b")
	aside, err := filepath.Glob(filepath.Join(n.dir, "store.db.damaged-*"))
	if err != nil || len(aside) != 1 {
		t.Errorf("set aside: %v, %v", aside, err)
	}
	if again := n.ok("ADD", "a"); again != first {
		t.Errorf("the attachment has %s, had %s", again, first)
	}
	n.ok("DEL", "a")
	n.add("b", "ip 2001:db8::2/128 gw fe80::1\nip 10.0.0.2/32 gw 169.254.1.1\nroute ::/0 via fe80::1\nroute 0.0.0.0/0 via 169.254.1.1")
}
