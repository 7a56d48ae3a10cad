// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	current "github.com/containernetworking/cni/pkg/types/100"

	"flock.fritzlab.net/flock/plugins/cni"
)

// record is what is kept of an attachment.
type record struct {
	Address int
	MAC     string
	Version string
}

func address(n int) net.IPNet {
	return net.IPNet{IP: net.IPv4(192, 0, 2, byte(n)).To4(), Mask: net.CIDRMask(32, 32)}
}

func (rec record) result(r *cni.Request[config]) *current.Result {
	result := &current.Result{
		Interfaces: []*current.Interface{{Name: r.Attachment.IfName, Mac: rec.MAC, Sandbox: r.Netns}},
		IPs:        []*current.IPConfig{{Address: address(rec.Address), Interface: current.Int(0)}},
	}
	if r.PrevResult != nil {
		result.DNS = r.PrevResult.DNS
	}
	return result
}

// store is a directory with a file for each attachment.
type store struct{ dir string }

func (s store) lock() (unlock func()) {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return func() {}
	}
	syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	return func() { f.Close() }
}

const recordPrefix = "record:"

func (s store) file(a cni.Attachment) string {
	id := a.ContainerID
	if len(id) > 100 {
		id = id[:100]
	}
	return filepath.Join(s.dir, recordPrefix+strings.Join([]string{a.Network, id, a.IfName}, ":"))
}

func (s store) load(a cni.Attachment) (rec record, ok bool) {
	raw, err := os.ReadFile(s.file(a))
	return rec, err == nil && json.Unmarshal(raw, &rec) == nil
}

func (s store) save(a cni.Attachment, rec record) error {
	raw, _ := json.Marshal(rec)
	return os.WriteFile(s.file(a), raw, 0o600)
}

func (s store) has(a cni.Attachment) bool { _, ok := s.load(a); return ok }

func (s store) version(a cni.Attachment) string { rec, _ := s.load(a); return rec.Version }

// remove leaves a tombstone, which the fault "only-once" looks for.
func (s store) remove(a cni.Attachment) {
	if is("only-once") {
		os.WriteFile(s.tombstone(a), nil, 0o600)
	}
	os.Remove(s.file(a))
}

func (s store) tombstone(a cni.Attachment) string {
	return filepath.Join(s.dir, "was:"+filepath.Base(s.file(a)))
}

func (s store) buried(a cni.Attachment) bool { _, err := os.Stat(s.tombstone(a)); return err == nil }

// draft makes a file that only a whole ADD takes away again, and gives the killer time.
func (s store) draft() (remove func()) {
	file := filepath.Join(s.dir, "draft")
	os.WriteFile(file, nil, 0o600)
	time.Sleep(20 * time.Millisecond)
	return func() { os.Remove(file) }
}

func (s store) all() (list []cni.Attachment) {
	files, _ := filepath.Glob(filepath.Join(s.dir, recordPrefix+"*"))
	for _, f := range files {
		parts := strings.Split(filepath.Base(f), ":")
		list = append(list, cni.Attachment{Network: parts[1], ContainerID: parts[2], IfName: parts[3]})
	}
	return list
}

func (s store) removeMatching(containerID string) {
	for _, a := range s.all() {
		if a.ContainerID == containerID {
			s.remove(a)
		}
	}
}

// free returns the lowest number that no record has.
func (s store) free() int {
	var taken []int
	for _, a := range s.all() {
		rec, _ := s.load(a)
		taken = append(taken, rec.Address)
	}
	n := 1
	for slices.Contains(taken, n) {
		n++
	}
	return n
}
