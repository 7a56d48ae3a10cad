// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/test/lab"
)

// startLimit bounds how long a program may take to start on a busy machine.
const startLimit = 2 * time.Minute

// host is what has a network namespace and daemons: the router, the control plane, a node.
type host struct {
	*lab.Netns
	// Dir holds its files: each daemon's log and process ID among them.
	Dir string

	group cgroup
	bin   string
	// enter runs a function inside the host, on a thread that ends with it.
	enter func(fn func() error) error
}

func (c *Cluster) newHost(name string) *host {
	full := c.Name + "-" + name
	h := &host{Netns: &lab.Netns{Name: full}, Dir: filepath.Join(c.Dir, name), group: cgroup(full), bin: c.bin()}
	h.enter = h.Netns.Do
	return h
}

// plug makes the host's folder, cgroup and namespace, and lays its cable to the router.
func (h *host) plug(number int, router *lab.Netns) error {
	if err := os.MkdirAll(h.Dir, 0o755); err != nil {
		return fmt.Errorf("make the folder of %s: %w", h.Name, err)
	}
	if err := h.group.make(); err != nil {
		return err
	}
	if _, err := lab.NewNetns(h.Name); err != nil {
		return err
	}
	near, far := link(number)
	cable := lab.Cable{
		A:   lab.End{Netns: router, Name: filepath.Base(h.Dir), Addresses: near},
		B:   lab.End{Netns: h.Netns, Name: "eth0", Addresses: far},
		MTU: 1500,
	}
	if err := cable.Lay(); err != nil {
		return err
	}
	return h.Netlink(func(nl *netlink.Handle) error {
		eth0, err := nl.LinkByName("eth0")
		if err != nil {
			return fmt.Errorf("find eth0 of %s: %w", h.Name, err)
		}
		for _, gateway := range near {
			route := &netlink.Route{LinkIndex: eth0.Attrs().Index, Gw: gateway.Addr().AsSlice()}
			if err := nl.RouteAdd(route); err != nil {
				return fmt.Errorf("give %s its default route: %w", h.Name, err)
			}
		}
		return nil
	})
}

// start starts a daemon of the host, which outlives this process. Its program is one of the cluster's or the
// machine's; what it prints is appended to its log.
func (h *host) start(name, program string, args ...string) error {
	if own := filepath.Join(h.bin, program); isFile(own) {
		program = own
	}
	log, err := os.OpenFile(h.logFile(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start %s of %s: %w", name, h.Name, err)
	}
	defer log.Close()
	// It joins the cgroup before it can have children.
	join := []string{"-c", `echo $$ >"$0" && exec "$@"`, h.group.joinFile(), program}
	cmd := exec.Command("/bin/sh", append(join, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "HOME=/root"}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := h.enter(cmd.Start); err != nil {
		return fmt.Errorf("start %s of %s: %w", name, h.Name, err)
	}
	go cmd.Wait()
	return os.WriteFile(h.pidFile(name), []byte(strconv.Itoa(cmd.Process.Pid)), 0o644)
}

func (h *host) logFile(name string) string { return filepath.Join(h.Dir, name+".log") }
func (h *host) pidFile(name string) string { return filepath.Join(h.Dir, name+".pid") }

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// PID returns the process of a daemon that was started last.
func (h *host) PID(name string) (int, error) {
	text, err := os.ReadFile(h.pidFile(name))
	if err != nil {
		return 0, fmt.Errorf("find %s of %s: %w", name, h.Name, err)
	}
	return strconv.Atoi(string(text))
}

// Signal sends the daemon a signal.
func (h *host) Signal(name string, sig syscall.Signal) error {
	pid, err := h.PID(name)
	if err == nil {
		err = unix.Kill(pid, sig)
	}
	if err != nil {
		return fmt.Errorf("send %s to %s of %s: %w", sig, name, h.Name, err)
	}
	return nil
}

// await waits until check succeeds, and not once the daemon has ended.
func (h *host) await(ctx context.Context, name string, check func() error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	return lab.Within(ctx, startLimit, name+" of "+h.Name+" answers", func() error {
		err := check()
		if err == nil {
			return nil
		}
		if pid, perr := h.PID(name); perr != nil || unix.Kill(pid, 0) != nil {
			stop()
			err = fmt.Errorf("it ended: %s", h.lastWords(name))
		}
		return err
	})
}

// lastWords returns the last lines of a daemon's log.
func (h *host) lastWords(name string) string {
	text, err := os.ReadFile(h.logFile(name))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}
