// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/test/lab"
)

const cgroupRoot = "/sys/fs/cgroup"

// cgroup is one name in every hierarchy: by it all processes of a host are known, however they were started. What is
// started here is in its child "daemons", the pods are in children that the kubelet makes.
type cgroup string

const daemons = "daemons"

// hierarchies returns where the machine has cgroups: one folder with cgroup v2, one for each controller with v1.
func hierarchies() ([]string, error) {
	if unified() {
		return []string{cgroupRoot}, nil
	}
	all, err := filepath.Glob(cgroupRoot + "/*/cgroup.procs")
	if err != nil {
		return nil, fmt.Errorf("find the cgroups: %w", err)
	}
	var dirs []string
	for _, file := range all {
		dir, err := filepath.EvalSymlinks(filepath.Dir(file)) // cpu and cpuacct may be one
		if err != nil {
			return nil, fmt.Errorf("find the cgroups: %w", err)
		}
		dirs = append(dirs, dir)
	}
	if len(dirs) == 0 {
		return nil, fmt.Errorf("find the cgroups: %s has none", cgroupRoot)
	}
	slices.Sort(dirs)
	return slices.Compact(dirs), nil
}

func unified() bool {
	_, err := os.Stat(cgroupRoot + "/cgroup.controllers")
	return err == nil
}

// tracking is the folder of the hierarchy that every process is in.
func (g cgroup) tracking() string {
	if unified() {
		return filepath.Join(cgroupRoot, string(g))
	}
	return filepath.Join(cgroupRoot, "pids", string(g))
}

// joinFile is the file that a process joins the group by, where it writes its ID.
func (g cgroup) joinFile() string { return filepath.Join(g.tracking(), daemons, "cgroup.procs") }

// make makes the group in every hierarchy: the kubelet wants its root to be there.
func (g cgroup) make() error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	if unified() {
		if err := delegate(cgroupRoot); err != nil {
			return err
		}
	}
	for _, hierarchy := range all {
		if err := os.MkdirAll(filepath.Join(hierarchy, string(g)), 0o755); err != nil {
			return fmt.Errorf("make cgroup %s: %w", g, err)
		}
	}
	if !unified() {
		if err := g.inheritCPUs(); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(g.joinFile()), 0o755); err != nil {
		return fmt.Errorf("make cgroup %s: %w", g, err)
	}
	return nil
}

// inheritCPUs gives the group the processors and the memory nodes of the root: with cgroup v1 a new cpuset has none,
// and no process can be in it.
func (g cgroup) inheritCPUs() error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		content, err := os.ReadFile(filepath.Join(cgroupRoot, "cpuset", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(cgroupRoot, "cpuset", string(g), name), content, 0o644)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("make cgroup %s: %w", g, err)
		}
	}
	return nil
}

// wanted are the controllers that the kubelet wants to be there, and io.
var wanted = []string{"cpu", "cpuset", "hugetlb", "io", "memory", "pids"}

// delegate lets the children of a group of cgroup v2 have the wanted controllers, where it has them.
func delegate(dir string) error {
	controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	for _, name := range strings.Fields(string(controllers)) {
		if err == nil && slices.Contains(wanted, name) {
			err = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+name), 0o644)
		}
	}
	if err != nil {
		return fmt.Errorf("delegate the controllers of %s: %w", dir, err)
	}
	return nil
}

// pids returns the processes of the group and of all below it. A group that is not there has none.
func (g cgroup) pids() ([]int, error) {
	var pids []int
	err := filepath.WalkDir(g.tracking(), func(path string, _ fs.DirEntry, err error) error {
		if gone(err) {
			return nil
		}
		if err != nil || filepath.Base(path) != "cgroup.procs" {
			return err
		}
		content, err := os.ReadFile(path)
		if gone(err) {
			return nil
		}
		for _, field := range strings.Fields(string(content)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return err
			}
			pids = append(pids, pid)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the processes of cgroup %s: %w", g, err)
	}
	return pids, nil
}

// gone tells that a group went away while it was read.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) }

// kill kills every process of the group, and returns when there is none.
func (g cgroup) kill(ctx context.Context) error {
	return lab.Within(ctx, time.Minute, "the processes of "+string(g)+" end", func() error {
		pids, err := g.pids()
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
		return fmt.Errorf("%v still run", pids)
	})
}

// remove removes the group and all below it, which have no processes. Removing an absent one is not an error.
func (g cgroup) remove(ctx context.Context) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, hierarchy := range all {
		dir := filepath.Join(hierarchy, string(g))
		// A process is in its group for a moment after it ended.
		if err := lab.Within(ctx, 10*time.Second, dir+" is gone", func() error { return removeTree(dir) }); err != nil {
			return fmt.Errorf("remove cgroup %s: %w", g, err)
		}
	}
	return nil
}

// removeTree removes the folders of a tree of cgroups; the files in them cannot be removed and go with them.
func removeTree(root string) error {
	var dirs []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if gone(err) {
			return nil
		}
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	for _, dir := range slices.Backward(dirs) {
		if rerr := unix.Rmdir(dir); rerr != nil && !gone(rerr) {
			err = errors.Join(err, fmt.Errorf("remove %s: %w", dir, rerr))
		}
	}
	return err
}

// exists tells whether any hierarchy has the group.
func (g cgroup) exists() bool {
	all, _ := hierarchies()
	return slices.ContainsFunc(all, func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, string(g)))
		return err == nil
	})
}
