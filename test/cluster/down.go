// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"flock.fritzlab.net/flock/test/lab"
)

// Down kills every process of the cluster and removes its cgroups, its namespaces, with which its mounts go, and its
// folder. It looks afterwards, and what is left is an error. Taking down what is not up is not an error.
func (c *Cluster) Down(ctx context.Context) error {
	if err := c.remove(ctx); err != nil {
		return fmt.Errorf("take down cluster %s: %w", c.Name, err)
	}
	left, err := c.Left()
	if len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("these are left: %s", strings.Join(left, ", ")))
	}
	if err != nil {
		return fmt.Errorf("take down cluster %s: %w", c.Name, err)
	}
	return nil
}

func (c *Cluster) remove(ctx context.Context) error {
	groups, err := c.cgroups()
	if err != nil {
		return err
	}
	for _, g := range groups {
		if err := g.kill(ctx); err != nil {
			return err
		}
	}
	namespaces, err := lab.Namespaces(c.Name + "-")
	if err != nil {
		return err
	}
	for _, name := range namespaces {
		if err := (&lab.Netns{Name: name}).Delete(); err != nil {
			return err
		}
	}
	for _, g := range groups {
		if err := g.remove(ctx); err != nil {
			return err
		}
	}
	return os.RemoveAll(c.Dir)
}

// cgroups returns the groups of the cluster's hosts, by their names: it may have had more nodes when it was brought up.
func (c *Cluster) cgroups() ([]cgroup, error) {
	all, err := hierarchies()
	if err != nil {
		return nil, err
	}
	var groups []cgroup
	for _, hierarchy := range all {
		dirs, err := filepath.Glob(filepath.Join(hierarchy, c.Name+"-*"))
		if err != nil {
			return nil, fmt.Errorf("list the cgroups of cluster %s: %w", c.Name, err)
		}
		for _, dir := range dirs {
			groups = append(groups, cgroup(filepath.Base(dir)))
		}
	}
	slices.Sort(groups)
	return slices.Compact(groups), nil
}

// Left returns what the machine has of the cluster: processes, cgroups, network namespaces, mounts and the folder, each
// in words. It is empty where the cluster is down.
func (c *Cluster) Left() ([]string, error) {
	groups, err := c.cgroups()
	if err != nil {
		return nil, err
	}
	var left []string
	for _, g := range groups {
		left = append(left, "cgroup "+string(g))
		pids, err := g.pids()
		if err != nil {
			return nil, err
		}
		for _, pid := range pids {
			left = append(left, fmt.Sprintf("process %d", pid))
		}
	}
	namespaces, err := lab.Namespaces(c.Name + "-")
	if err != nil {
		return nil, err
	}
	for _, name := range namespaces {
		left = append(left, "network namespace "+name)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	if strings.Contains(string(mounts), c.Dir+"/") {
		left = append(left, "mounts below "+c.Dir)
	}
	if c.Exists() {
		left = append(left, "folder "+c.Dir)
	}
	return left, nil
}
