// SPDX-License-Identifier: Apache-2.0

package cnitest

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"
)

// snapshot is the state of the host, of its containers, and of the plugin, as sorted lines. Each line
// begins with whose it is.
type snapshot []string

const (
	hostLine = "host: "
	ownLine  = "plugin: "
)

// containers returns the snapshot without what is inside containers.
func (s snapshot) host() snapshot {
	return slices.DeleteFunc(slices.Clone(s), func(line string) bool {
		return !strings.HasPrefix(line, hostLine) && !strings.HasPrefix(line, ownLine)
	})
}

// diff returns what is gone (-) and what is new (+) in now, a line each; "" when there is no difference.
func (s snapshot) diff(now snapshot) string {
	var b strings.Builder
	write := func(sign string, a, b2 snapshot) {
		left := slices.Clone(b2)
		for _, line := range a {
			if i := slices.Index(left, line); i >= 0 {
				left = slices.Delete(left, i, i+1)
				continue
			}
			fmt.Fprintf(&b, "\t%s %s\n", sign, line)
		}
	}
	write("-", s, now)
	write("+", now, s)
	return b.String()
}

// batches are the ip commands that show a namespace, one run of ip for each address family.
var batches = []struct{ family, commands string }{
	{"-o", "link show\naddress show\nneighbour show nud permanent\nneighbour show proxy\nnexthop show\n"},
	{"-4", "route show table all\nrule show\n"},
	{"-6", "route show table all\nrule show\n"},
}

// observeNamespace returns the namespace's network state, a line for each thing.
func observeNamespace(n namespace) ([]string, error) {
	var lines []string
	for _, batch := range batches {
		cmd := exec.Command("ip", batch.family, "-o", "-batch", "-")
		cmd.Stdin = strings.NewReader(batch.commands)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := In(n.path, cmd.Run); err != nil {
			return nil, fmt.Errorf("look at namespace %s: %w: %s", n.path, err, stderr.String())
		}
		for line := range strings.Lines(stdout.String()) {
			if line = normal(line); line != "" {
				lines = append(lines, strings.TrimPrefix(batch.family+" ", "-o ")+line)
			}
		}
	}
	return lines, nil
}

var (
	// kernelOwn are routes that the kernel keeps by itself for each address and each link.
	kernelOwn = regexp.MustCompile(`^(local|broadcast|anycast|multicast) |table local`)
	// passing is what changes without anybody's doing.
	passing = regexp.MustCompile(`\\| (tentative|dadfailed|linkdown|dead)\b| (valid_lft|preferred_lft|expires|link-netns|link-netnsid|qlen) \S+`)
	spaces  = regexp.MustCompile(`\s+`)
)

func normal(line string) string {
	line = strings.TrimSpace(spaces.ReplaceAllString(passing.ReplaceAllString(line, " "), " "))
	if kernelOwn.MatchString(line) {
		return ""
	}
	return line
}

// patience is how long the kernel may take for what it does behind the plugin's back: the addresses that
// it gives to a link by itself, the links of a namespace that is gone.
var patience = 3 * time.Second

const interval = 10 * time.Millisecond

var errUnsettled = errors.New("the state keeps changing by itself")

// settle looks until it sees the same twice.
func settle(look func() (snapshot, error)) (snapshot, error) {
	last, err := look()
	for deadline := time.Now().Add(patience); err == nil && time.Now().Before(deadline); {
		time.Sleep(interval)
		var now snapshot
		if now, err = look(); err == nil && last.diff(now) == "" {
			return now, nil
		}
		last = now
	}
	if err != nil {
		return nil, err
	}
	return nil, errUnsettled
}

// await looks until it sees want, and returns the difference that remains when patience ends.
func await(want snapshot, look func() (snapshot, error)) (string, error) {
	for deadline := time.Now().Add(patience); ; time.Sleep(interval) {
		now, err := look()
		if err != nil {
			return "", err
		}
		diff := want.diff(now)
		if diff == "" || time.Now().After(deadline) {
			return diff, nil
		}
	}
}
