// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// holder is the process that keeps a node's namespaces while none of its daemons runs.
const holder = "holder"

// furnish makes the node's mount and UTS namespaces, inside its network namespace, and starts the process that holds
// them.
func (n *Node) furnish() error {
	return onThread(func() error {
		file, err := os.Open(n.Path())
		if err != nil {
			return fmt.Errorf("enter %s: %w", n.Name, err)
		}
		defer file.Close()
		if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter %s: %w", n.Name, err)
		}
		if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWUTS); err != nil {
			return fmt.Errorf("make the namespaces of %s: %w", n.Name, err)
		}
		for _, step := range []func() error{private, n.mountSys, mountRun, n.mountEtc, n.mountFolders, n.hideSysctls, share, n.setName} {
			if err := step(); err != nil {
				return fmt.Errorf("furnish %s: %w", n.Name, err)
			}
		}
		inside := *n.host
		inside.enter = func(fn func() error) error { return fn() }
		return inside.start(holder, "sleep", "infinity")
	})
}

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", source, target, err)
	}
	return nil
}

// private keeps what follows from the machine's mounts, share lets the kubelet's reach the containers.
func private() error { return mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }
func share() error   { return mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "") }

func (n *Node) setName() error { return unix.Sethostname([]byte(n.Name)) }

// mountSys shows the node's own network in /sys, with the machine's cgroups put back in it.
func (n *Node) mountSys() error {
	cgroups := n.file("cgroup")
	if err := os.MkdirAll(cgroups, 0o755); err != nil {
		return err
	}
	if err := mount(cgroupRoot, cgroups, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if err := unmountAll("/sys"); err != nil {
		return err
	}
	if err := mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return err
	}
	return mount(cgroups, cgroupRoot, "", unix.MS_MOVE, "")
}

// mountRun empties /run. The machine's network namespaces are unmounted, not just hidden: they would live as long as
// the node.
func mountRun() error {
	if err := unmountAll("/run"); err != nil {
		return err
	}
	if err := mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for _, dir := range []string{"/run/netns", "/run/lock"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// unmountAll unmounts the folder, where it is a mount, and all that is mounted below it.
func unmountAll(dir string) error {
	mounts, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return err
	}
	for _, line := range slices.Backward(strings.Split(string(mounts), "\n")) {
		fields := strings.Fields(line)
		if len(fields) < 5 || !strings.HasPrefix(fields[4]+"/", dir+"/") {
			continue
		}
		if err := unix.Unmount(fields[4], unix.MNT_DETACH); err != nil && err != unix.EINVAL {
			return fmt.Errorf("unmount %s: %w", fields[4], err)
		}
	}
	return nil
}

// mountEtc lets the node write to its /etc and see the machine's below that.
func (n *Node) mountEtc() error {
	upper, work := n.file("etc"), n.file("etc.work")
	for _, dir := range []string{upper, work, filepath.Join(upper, "cni/net.d")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return mount("overlay", "/etc", "overlay", 0, "lowerdir=/etc,upperdir="+upper+",workdir="+work)
}

// mountFolders gives the node folders of its own.
func (n *Node) mountFolders() error {
	for _, dir := range []string{"/var/lib", "/var/log", "/opt"} {
		own := n.file(dir)
		if err := os.MkdirAll(own, 0o755); err != nil {
			return err
		}
		if err := mount(own, dir, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

// sysctls are what the kubelet sets for the whole machine unless it reads the value that it wants.
var sysctls = map[string]string{
	"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
	"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}

// hideSysctls puts files in the place of those sysctls.
func (n *Node) hideSysctls() error {
	for key, value := range sysctls {
		file := n.file("sysctl-" + strings.ReplaceAll(key, "/", "."))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := mount(file, "/proc/sys/"+key, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}
