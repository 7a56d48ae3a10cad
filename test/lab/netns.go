// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// netnsDir is where iproute2 keeps the network namespaces that "ip netns" lists.
const netnsDir = "/run/netns"

// The main thread stays with the main goroutine: a thread that entered a namespace must be able to
// end, which the main thread of a process cannot, and /proc/self shows the main thread's namespace.
func init() { runtime.LockOSThread() }

// Netns is a named network namespace.
type Netns struct {
	Name string
}

// NewNetns makes a network namespace with its loopback up; "ip netns" lists it.
func NewNetns(name string) (*Netns, error) {
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("add network namespace %s: %w: %s", name, err, out)
	}
	n := &Netns{Name: name}
	if err := n.Netlink(func(h *netlink.Handle) error { return linkUp(h, "lo") }); err != nil {
		return nil, errors.Join(err, n.Delete())
	}
	return n, nil
}

// Path returns the namespace's path, as a container runtime gives it in CNI_NETNS.
func (n *Netns) Path() string { return filepath.Join(netnsDir, n.Name) }

// Do runs fn on a thread inside the namespace. What fn executes, and the sockets that it opens, belong
// to the namespace for good. The thread ends with fn.
func (n *Netns) Do(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := enter(n.Path()); err != nil {
			done <- fmt.Errorf("enter network namespace %s: %w", n.Name, err)
			return
		}
		done <- fn()
	}()
	return <-done
}

func enter(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
}

// Netlink runs fn with a netlink handle of the namespace.
func (n *Netns) Netlink(fn func(*netlink.Handle) error) error {
	ns, err := netns.GetFromName(n.Name)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", n.Name, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink in %s: %w", n.Name, err)
	}
	defer h.Close()
	return fn(h)
}

// Run executes a command inside the namespace and returns what it printed to stdout. What it printed to
// stderr is part of the error.
func (n *Netns) Run(ctx context.Context, name string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := n.Do(cmd.Run); err != nil {
		return stdout.String(), fmt.Errorf("run %s %s in %s: %w: %s%s", name, strings.Join(args, " "), n.Name, err, &stderr, &stdout)
	}
	return stdout.String(), nil
}

// Sysctl writes /proc/sys/net/… of the namespace; key is written with slashes.
func (n *Netns) Sysctl(key, value string) error {
	return n.Do(func() error {
		if err := os.WriteFile("/proc/sys/net/"+key, []byte(value), 0o644); err != nil {
			return fmt.Errorf("set sysctl in %s: %w", n.Name, err)
		}
		return nil
	})
}

// PIDs returns the processes that run inside the namespace, the calling one never among them.
func (n *Netns) PIDs() ([]int, error) {
	var want, have unix.Stat_t
	if err := unix.Stat(n.Path(), &want); err != nil {
		return nil, fmt.Errorf("list processes of %s: %w", n.Name, err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes of %s: %w", n.Name, err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || unix.Stat("/proc/"+e.Name()+"/ns/net", &have) != nil {
			continue // no process, this one, or gone by now
		}
		if have.Dev == want.Dev && have.Ino == want.Ino {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// Exists tells whether the namespace still has its name.
func (n *Netns) Exists() bool {
	_, err := os.Stat(n.Path())
	return err == nil
}

// Delete ends the processes inside the namespace by their IDs and removes it. Deleting an absent one
// is not an error.
func (n *Netns) Delete() error {
	if !n.Exists() {
		return nil
	}
	if err := n.killAll(); err != nil {
		return err
	}
	if out, err := exec.Command("ip", "netns", "del", n.Name).CombinedOutput(); err != nil && n.Exists() {
		return fmt.Errorf("delete network namespace %s: %w: %s", n.Name, err, out)
	}
	return nil
}

func (n *Netns) killAll() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return Eventually(ctx, "processes of "+n.Name+" end", func() error {
		pids, err := n.PIDs()
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
		return fmt.Errorf("%v still run", pids)
	})
}
