// SPDX-License-Identifier: Apache-2.0

package pair

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/flock-veth/internal/wire"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/plugins/cni"
)

// Sweep removes the pairs whose attachments are not valid, and the network's drafts that nobody will ever
// finish; of other networks' attachments valid must say that they are. It stops at nothing: its error
// joins those of all the pairs that it could not remove.
func Sweep(host *rtnl.Conn, network string, valid func(cni.Attachment) bool) error {
	links, err := rtnl.List(host, wire.ListVeths(), wire.ParseLink)
	if err != nil {
		return err
	}
	var stale []wire.Link
	for _, link := range links {
		owner, ours := rtnl.ParseAlias(link.Alias)
		if ours && link.Group == rtnl.LinkGroup && !valid(owner) || isDraft(link, draftGroup(network)) {
			stale = append(stale, link)
		}
	}
	if len(stale) == 0 {
		return nil
	}
	mounted, failed := mountedNetns(host)
	for _, link := range stale {
		failed = errors.Join(failed, sweep(host, mounted[link.PeerNetns], link))
	}
	return failed
}

// sweep removes one pair; path is where its pod's namespace is mounted, "" where it is not. A draft goes
// if the namespace is nobody's turn, which says that its maker is dead.
func sweep(host *rtnl.Conn, path string, link wire.Link) error {
	netns, err := openShared(path)
	if err != nil {
		if link.Alias == "" {
			return nil // a DEL removes it
		}
		return remove(host, link.Dev)
	}
	defer netns.Close()
	if link.Alias == "" {
		if unix.Flock(netns.fd, unix.LOCK_EX|unix.LOCK_NB) != nil {
			return nil
		}
		return remove(host, link.Dev)
	}
	owner, _ := rtnl.ParseAlias(link.Alias)
	s, err := Identify(owner)
	if err != nil {
		return err
	}
	return dismantle(host, netns, s, link)
}

// mountedNetns returns the paths of the network namespaces that are mounted in the file system, as
// runtimes mount those of containers, by the number that the host's namespace has for each.
func mountedNetns(host *rtnl.Conn) (map[int]string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find the pods' network namespaces: %w", err)
	}
	paths := map[int]string{}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) < 5 || !strings.HasPrefix(fields[3], "net:[") {
			continue
		}
		path := unescape(fields[4])
		netns, err := openShared(path)
		if err != nil {
			continue // unmounted meanwhile, or hidden by another mount
		}
		if number, err := wire.NumberOf(host, netns.fd); err == nil {
			paths[number] = path
		}
		netns.Close()
	}
	return paths, nil
}

// unescape undoes what mountinfo does to the white space and backslashes of a path.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}
