// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"flock.fritzlab.net/flock/internal/store"
)

// stateCommands show everything in a namespace that an attachment could leave behind.
var stateCommands = []string{
	"ip -o link", "ip -o address",
	"ip -4 -o route show table all", "ip -6 -o route show table all",
	"ip -4 rule", "ip -6 rule", "ip nexthop",
	"ip neigh show nud permanent", "ip neigh show proxy",
}

// volatile is what comes and goes without anybody's doing: a link's flags and queue, the time that an
// address has left, and the routes that come with a carrier and with IPv6 forwarding.
var volatile = regexp.MustCompile(`(: <| mtu ).*$|\\.*$| linkdown\b| tentative\b|^(anycast|multicast|broadcast) .*`)

// State returns the namespace's links, addresses, routes of every table, rules, nexthop objects and
// permanent neighbours as sorted lines.
func (n *Netns) State(ctx context.Context) ([]string, error) {
	var lines []string
	for _, command := range stateCommands {
		fields := strings.Fields(command)
		out, err := n.Run(ctx, fields[0], fields[1:]...)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(out) {
			if line = volatile.ReplaceAllString(strings.TrimSpace(line), ""); line != "" {
				lines = append(lines, strings.Join(fields[1:], " ")+": "+line)
			}
		}
	}
	slices.Sort(lines)
	return lines, nil
}

// Routes returns what "ip" shows of the namespace's routes: the arguments follow "ip -6 route show" or
// "ip -4 route show", and the lines of both families are returned in that order.
func (n *Netns) Routes(ctx context.Context, args ...string) (string, error) {
	var routes strings.Builder
	for _, family := range []string{"-6", "-4"} {
		out, err := n.Run(ctx, "ip", append([]string{family, "route", "show"}, args...)...)
		if err != nil {
			return "", err
		}
		for line := range strings.Lines(out) {
			routes.WriteString(strings.TrimSpace(line) + "\n")
		}
	}
	return routes.String(), nil
}

// Allocations returns what a store in stateDir holds, one line an attachment.
func Allocations(stateDir string) ([]string, error) {
	var lines []string
	err := store.Store{Dir: stateDir, ReadOnly: true}.View(func(tx *store.Tx) error {
		return tx.All(func(a store.Allocation) error {
			lines = append(lines, fmt.Sprintf("allocation: %s %s %v %v", a.Attachment, a.State, a.Addresses, a.Anycast))
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(lines)
	return lines, nil
}

// Namespaces returns the names of the network namespaces that start with the prefix.
func Namespaces(prefix string) ([]string, error) {
	entries, err := os.ReadDir(netnsDir)
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("list network namespaces: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Difference returns the lines that only after has with "+" before them, and those that only before has
// with "-"; both are sorted. Nothing differs when it is empty.
func Difference(before, after []string) []string {
	var diff []string
	for _, line := range after {
		if _, found := slices.BinarySearch(before, line); !found {
			diff = append(diff, "+ "+line)
		}
	}
	for _, line := range before {
		if _, found := slices.BinarySearch(after, line); !found {
			diff = append(diff, "- "+line)
		}
	}
	return diff
}
