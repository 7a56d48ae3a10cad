// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"flock.fritzlab.net/flock/plugins/allocator"
	"flock.fritzlab.net/flock/test/build"
)

// site is a node without Kubernetes that has pools whose allocators have faults, 10.9.1.0/29 and so on, and two of its
// own.
type site struct {
	*node
	program string // the first allocator's
	socket  string
	ipam    string // the program flock-ipam
}

// wrongAllocator returns the program that has every fault, by its name.
var wrongAllocator = sync.OnceValues(func() (string, error) {
	path := filepath.Join(programs, "wrong")
	out, err := exec.Command("go", "build", "-o", path, "flock.fritzlab.net/flock/plugins/allocator/allocatortest/internal/wrong").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the wrong allocator: %w\n%s", err, out)
	}
	return path, nil
})

func newSite(t *testing.T, faults ...string) *site {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	n := newNode(t, "x1")
	s := &site{node: n, program: filepath.Join(dir, "allocator-"+faults[0]), socket: filepath.Join(n.db, "ipamd.sock")}
	var pools []string
	for i, fault := range faults {
		s.install(filepath.Join(dir, "allocator-"+fault))
		pools = append(pools, fmt.Sprintf(`{name: by-%s, cidr: 10.9.%d.0/29, allocator: %s, reserved: [10.9.%d.6]}`, fault, i+1, fault, i+1))
	}
	flock, err := build.Flock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.ipam = filepath.Join(flock, "flock-ipam")
	s.pools(append(pools, `{name: own4, cidr: 10.0.0.0/24}`, `{name: own6, cidr: "fd00::/64", allocator: sequential}`)...)
	return s
}

// install makes the wrong allocator's program.
func (s *site) install(path string) {
	s.t.Helper()
	wrong, err := wrongAllocator()
	if err == nil {
		err = os.Link(wrong, path)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// pools replaces the NodeConfig.
func (s *site) pools(pools ...string) {
	s.t.Helper()
	text := "apiVersion: flock.fritzlab.net/v1alpha1\nkind: NodeConfig\nmetadata: {name: node1}\nspec:\n  pools: [" + strings.Join(pools, ", ") + "]\n"
	next := s.config + ".next"
	if err := errors.Join(os.WriteFile(next, []byte(text), 0o600), os.Rename(next, s.config)); err != nil {
		s.t.Fatal(err)
	}
}

// begin starts the daemon and waits until node.json is there.
func (s *site) begin() {
	s.t.Helper()
	s.run("--config", s.config, "--extensions", filepath.Dir(s.program))
	s.eventually("node.json is there", func() error { _, err := os.Stat(s.nodeFile); return err })
}

// call runs flock-ipam for a container, with annotations as "key=value" texts, and returns what it prints.
func (s *site) call(verb, id string, annotations ...string) ([]byte, error) {
	asked := map[string]string{}
	for _, text := range annotations {
		key, value, _ := strings.Cut(text, "=")
		asked["flock.fritzlab.net/"+key] = value
	}
	conf, err := json.Marshal(map[string]any{
		"cniVersion": "1.1.0", "name": "flock", "type": "flock-ipam", "stateDir": s.db, "nodeFile": s.nodeFile, "socket": s.socket,
		"runtimeConfig": map[string]any{"io.kubernetes.cri.pod-annotations": asked},
	})
	if err != nil {
		return nil, err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(s.ipam)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(conf), &stdout, &stderr
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+verb, "CNI_CONTAINERID="+id, "CNI_IFNAME=eth0", "CNI_NETNS="+s.Pods["x1"].Path(),
		"CNI_PATH=/nowhere", "CNI_ARGS=K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod-"+id+";K8S_POD_UID=uid-"+id)
	if err := s.Do(cmd.Run); err == nil {
		return stdout.Bytes(), nil
	}
	failure := new(types.Error)
	if err := json.Unmarshal(stdout.Bytes(), failure); err != nil {
		return nil, fmt.Errorf("%s of %s printed no CNI error: %q, %s", verb, id, stdout.Bytes(), stderr.Bytes())
	}
	return nil, failure
}

// add returns the addresses that an ADD gives.
func (s *site) add(id string, annotations ...string) (string, error) {
	out, err := s.call("ADD", id, annotations...)
	if err != nil {
		return "", err
	}
	var result struct{ IPs []struct{ Address string } }
	err = json.Unmarshal(out, &result)
	var texts []string
	for _, ip := range result.IPs {
		texts = append(texts, strings.TrimSuffix(strings.TrimSuffix(ip.Address, "/32"), "/128"))
	}
	return strings.Join(texts, " "), err
}

// gives is an ADD that must give these addresses.
func (s *site) gives(want, id string, annotations ...string) {
	s.t.Helper()
	if got, err := s.add(id, annotations...); err != nil || got != want {
		s.t.Errorf("ADD of %s: %q, %v; want %s\n%s", id, got, err, want, s.daemon.LastWords())
	}
}

// refuses is a call that must fail with the code and these texts.
func (s *site) refuses(code uint, verb, id string, annotations []string, texts ...string) {
	s.t.Helper()
	out, err := s.call(verb, id, annotations...)
	failure, ok := err.(*types.Error)
	if !ok || failure.Code != code {
		s.t.Errorf("%s of %s: %s, %#v; want code %d\n%s", verb, id, out, err, code, s.daemon.LastWords())
		return
	}
	for _, text := range texts {
		if !strings.Contains(failure.Msg, text) {
			s.t.Errorf("%s of %s: %s; want it to say %s", verb, id, failure.Msg, text)
		}
	}
}

// del is a DEL, which must succeed.
func (s *site) del(id string) {
	s.t.Helper()
	if _, err := s.call("DEL", id); err != nil {
		s.t.Errorf("DEL of %s: %v", id, err)
	}
}

// remembers returns the containers that the allocator's own record has.
func (s *site) remembers() (ids []string) {
	s.t.Helper()
	var given []allocator.Allocation
	raw, err := os.ReadFile(s.program + ".json")
	if os.IsNotExist(err) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &given)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	for _, g := range given {
		ids = append(ids, g.Attachment.ContainerID)
	}
	slices.Sort(ids)
	return ids
}

func (s *site) eventuallyRemembers(want ...string) {
	s.t.Helper()
	s.eventually(fmt.Sprint("the allocator remembers ", want), func() error {
		if got := s.remembers(); !slices.Equal(got, want) {
			return fmt.Errorf("it remembers %v", got)
		}
		return nil
	})
}

func TestAllocatorGives(t *testing.T) {
	s := newSite(t, "right")
	s.begin()
	s.gives("fd00::2 10.9.1.2", "a")
	s.gives("fd00::2 10.9.1.2", "a")
	s.gives("fd00::3 10.9.1.3", "b")
	if got := s.remembers(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("the allocator remembers %v", got)
	}
	begun := time.Now()
	s.del("a")
	s.eventuallyRemembers("b")
	t.Logf("released after %s", time.Since(begun))
	s.del("a")
	s.gives("10.9.1.2", "c", "ipv6=false")
	s.gives("10.9.1.4", "d", "ipv6=false", "cidr4=10.9.1.4/30")
	s.refuses(102, "ADD", "e", []string{"addresses=10.9.1.5"}, "10.9.1.5", "allocator right")
	s.gives("fd00::4 10.9.1.6", "f", "addresses=10.9.1.6")
	s.answers("/metrics", `flock_ipamd_extension_up{extension="allocator-right"} 1`,
		`flock_ipamd_extension_call_duration_seconds_count{call="Allocate",extension="allocator-right",result="OK"} 4`)
	s.answers("/readyz", "200")
	s.end(syscall.SIGTERM)
}

// TestAllocatorExhausted: pods get addresses of the next pool, and an ADD that fails after all takes nothing with it.
func TestAllocatorExhausted(t *testing.T) {
	s := newSite(t, "right")
	s.begin()
	for i := range 4 { // of eight, four are set aside
		s.gives(fmt.Sprintf("10.9.1.%d", 2+i), fmt.Sprint(i), "ipv6=false")
	}
	s.gives("10.0.0.2", "next", "ipv6=false")
	s.refuses(101, "ADD", "full", []string{"ipv6=false", "cidr4=10.9.1.0/29"}, "pool by-right (allocator right): exhausted; allocate from pool by-right (allocator right): ", "the pool has no free address")
	s.del("3")
	s.eventuallyRemembers("0", "1", "2")
	s.pools(`{name: by-right, cidr: 10.9.1.0/29, allocator: right}`, `{name: own4, cidr: 10.0.0.0/24}`,
		`{name: by-right6, cidr: "fd01::/64", allocator: right}`)
	s.eventually("an address of the new pool is given and taken back, for the other family has none", func() error {
		_, err := s.add("half", "cidr4=10.0.0.2/32")
		if err == nil || !strings.Contains(err.Error(), "10.0.0.2/32 of pool own4: exhausted") {
			return fmt.Errorf("ADD of half: %v", err)
		}
		return nil
	})
	s.eventuallyRemembers("0", "1", "2")
	s.end(syscall.SIGTERM)
}

// wrongs are faults, and what an ADD that needs the allocator says of them.
var wrongs = []struct {
	fault string
	code  uint
	texts []string
}{
	{"absent", 11, []string{"allocator-absent", "install it"}},
	{"hangs", 11, []string{"not answered in time"}},
	{"crashes", 11, []string{"allocator crashes", "it ended: exit status 3"}},
	{"outside", 112, []string{"it gave 10.9.3.255, which is outside 10.9.4.0/29"}},
	{"reserved", 112, []string{"it gave 10.9.5.0, which is reserved"}},
	{"other-family", 112, []string{"it gave fd00::1, which is not IPv4"}},
	{"other-version", 11, []string{"99"}},
	{"refuses", 111, []string{"serve pod pod-refuses: the allocator does not serve the pod"}},
	{"right", 0, nil},
}

// TestAllocatorsGoWrong: one that does harms nothing but the pods that need it.
func TestAllocatorsGoWrong(t *testing.T) {
	var faults []string
	for _, w := range wrongs {
		faults = append(faults, w.fault)
	}
	s := newSite(t, faults...)
	if err := os.Remove(s.program); err != nil { // of the one that is absent
		t.Fatal(err)
	}
	s.begin()
	var waiting sync.WaitGroup
	for i, w := range wrongs {
		waiting.Go(func() {
			asked := []string{"ipv6=false", fmt.Sprintf("cidr4=10.9.%d.0/29", i+1)}
			if w.code == 0 {
				s.gives(fmt.Sprintf("10.9.%d.2", i+1), w.fault, asked...)
				return
			}
			s.refuses(w.code, "ADD", w.fault, asked, append(w.texts, fmt.Sprintf("pool by-%s (allocator %s)", w.fault, w.fault))...)
			s.del(w.fault)
		})
	}
	for i := range 20 {
		begun := time.Now()
		s.gives(fmt.Sprintf("fd00::%x 10.0.0.%d", 2*i+2, i+2), fmt.Sprint("own", i), "cidr4=10.0.0.0/24")
		s.gives(fmt.Sprintf("fd00::%x", 2*i+3), fmt.Sprint("six", i), "ipv4=false")
		s.del(fmt.Sprint("own", i))
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("pods that do not need the allocators took %s", took)
		}
	}
	waiting.Wait()
	if has := s.has(); len(has) != 21 {
		t.Errorf("allocations are of %v", has)
	}
	s.answers("/metrics", `flock_ipamd_extension_up{extension="allocator-right"} 1`, `flock_ipamd_extension_up{extension="allocator-absent"} 0`)
	s.end(syscall.SIGTERM)
}

// TestAllocatorGivesTwice: what a pod of the node has is given to no other, whatever the allocator says.
func TestAllocatorGivesTwice(t *testing.T) {
	s := newSite(t, "shares-address")
	s.begin()
	s.gives("10.9.1.2", "a", "ipv6=false")
	s.refuses(103, "ADD", "b", []string{"ipv6=false"}, "10.9.1.2", "allocator shares-address", "pool by-shares-address")
	s.gives("10.9.1.2", "a", "ipv6=false")
	s.end(syscall.SIGTERM)
}

// TestAllocatorCrashesInTheMidst: it has given an address and died before it could say so. The ADD waits for it.
func TestAllocatorCrashesInTheMidst(t *testing.T) {
	s := newSite(t, "crashes-once")
	s.begin()
	s.gives("10.9.1.2", "a", "ipv6=false")
	s.eventuallyRemembers("a")
	s.answers("/metrics", `flock_ipamd_extension_restarts_total{extension="allocator-crashes-once"} 1`)
	s.del("a")
	s.eventuallyRemembers()
	s.end(syscall.SIGTERM)
}

// TestStatusWithoutAllocator: a family whose only pool has an allocator that is not up gets no address.
func TestStatusWithoutAllocator(t *testing.T) {
	s := newSite(t, "right")
	hidden := s.program + ".hidden"
	if err := os.Rename(s.program, hidden); err != nil {
		t.Fatal(err)
	}
	s.begin()
	s.answers("/metrics", `flock_ipamd_extension_up{extension="allocator-right"} 0`)
	if _, err := s.call("STATUS", ""); err != nil {
		t.Errorf("with another pool of the family: %v", err)
	}
	s.pools(`{name: by-right, cidr: 10.9.1.0/29, allocator: right}`, `{name: own6, cidr: "fd00::/64"}`)
	s.eventually("STATUS says so", func() error {
		_, err := s.call("STATUS", "")
		if failure, ok := err.(*types.Error); !ok || failure.Code != 50 || !strings.Contains(failure.Msg, "allocator right") {
			return fmt.Errorf("it says %v", err)
		}
		return nil
	})
	if err := os.Rename(hidden, s.program); err != nil {
		t.Fatal(err)
	}
	s.eventually("STATUS is well", func() error { _, err := s.call("STATUS", ""); return err })
	s.end(syscall.SIGTERM)
}

// TestAllocatorBehind: pods come to a pool behind ordinary ones when those have nothing left, so that an allocator which
// does not serve them there, or is away, leaves them as exhausted as they were.
func TestAllocatorBehind(t *testing.T) {
	s := newSite(t, "refuses")
	s.pools(`{name: own4, cidr: 10.0.0.0/30}`, `{name: by-refuses, cidr: 10.9.1.0/29, allocator: refuses}`)
	s.begin()
	s.gives("10.0.0.2", "a")
	s.del("a")
	s.gives("10.0.0.2", "b") // though it cools
	const exhausted = "pool own4, pool by-refuses (allocator refuses): exhausted"
	s.refuses(101, "ADD", "c", nil, exhausted, "does not serve the pod")
	s.refuses(111, "ADD", "c", []string{"cidr4=10.9.1.0/29"}, "does not serve the pod")
	s.refuses(50, "STATUS", "", nil, "pool own4: exhausted")
	s.end(syscall.SIGTERM)
	s.refuses(101, "ADD", "c", nil, exhausted, "ask ipamd at "+s.socket)
}

// TestAllocatorForAnotherStore: an address that is kept where ipamd does not look would be taken back from the pod that has
// it, so none is given, wherever the pool stands.
func TestAllocatorForAnotherStore(t *testing.T) {
	s := newSite(t, "right")
	s.begin()
	own := s.db
	s.db = t.TempDir()
	texts := []string{"pool by-right (allocator right)", "stateDir " + s.db, own, "set socket to that of the ipamd of this stateDir, or remove stateDir"}
	s.refuses(7, "ADD", "a", []string{"ipv6=false"}, texts...)
	s.pools(`{name: own4, cidr: 10.0.0.0/30}`, `{name: by-right, cidr: 10.9.1.0/29, allocator: right}`)
	s.eventually("the ordinary pool is the first", func() error {
		got, err := s.add("b")
		if got != "10.0.0.2" {
			err = fmt.Errorf("%s, %v", got, err)
		}
		return err
	})
	s.refuses(7, "ADD", "a", nil, texts...)
	if got := s.remembers(); len(got) > 0 {
		t.Errorf("the allocator remembers %v", got)
	}
	s.db = own
	s.gives("10.0.0.2", "c")
	s.gives("10.9.1.2", "a")
	s.end(syscall.SIGTERM)
}
