// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
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
	namespaces, err := c.namespaces()
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

// owns tells whether a host's full name is of this cluster, which may have had more nodes when it was brought up, and not
// of one whose name starts with this one's.
func (c *Cluster) owns(name string) bool {
	host, found := strings.CutPrefix(name, c.Name+"-")
	return found && hostName.MatchString(host)
}

var hostName = regexp.MustCompile(`^(router|control|node[0-9]+)$`)

// namespaces returns the network namespaces of the cluster's hosts.
func (c *Cluster) namespaces() ([]string, error) {
	names, err := lab.Namespaces(c.Name + "-")
	return slices.DeleteFunc(names, func(name string) bool { return !c.owns(name) }), err
}

// cgroups returns the groups of the cluster's hosts.
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
			if name := filepath.Base(dir); c.owns(name) {
				groups = append(groups, cgroup(name))
			}
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
	namespaces, err := c.namespaces()
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
