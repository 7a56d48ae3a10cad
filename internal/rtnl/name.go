// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"fmt"
	"hash/fnv"
	"strings"

	"flock.fritzlab.net/flock/plugins/cni"
)

// defaultIfName is the interface that container runtimes ask for; its attachment's host-side name
// hashes the container ID alone.
const defaultIfName = "eth0"

// HostName returns the name of an attachment's host-side link: "flock" and the 8 hex digits of the
// FNV-1a-32 hash of the container ID, with "/" and ifName appended for any interface but eth0.
func HostName(containerID, ifName string) string {
	hash := fnv.New32a()
	hash.Write([]byte(containerID))
	if ifName != defaultIfName {
		hash.Write([]byte("/" + ifName))
	}
	return fmt.Sprintf("flock%08x", hash.Sum32())
}

// maxAlias is the kernel's limit for a link's alias (IFALIASZ less the terminator).
const maxAlias = 255

const aliasPrefix = "flock:"

// Alias returns the link alias that names an attachment, "flock:network/containerID/ifName". An
// attachment whose names are too long for the kernel's 255 bytes is an error.
func Alias(a cni.Attachment) (string, error) {
	alias := aliasPrefix + a.String()
	if len(alias) > maxAlias {
		return "", fmt.Errorf("name the link of attachment %.40s…: network, container ID and interface name together exceed %d bytes", a, maxAlias-len(aliasPrefix)-2)
	}
	return alias, nil
}

// ParseAlias returns the attachment that an alias names, and whether it is one of flock's.
func ParseAlias(alias string) (cni.Attachment, bool) {
	rest, ours := strings.CutPrefix(alias, aliasPrefix)
	parts := strings.Split(rest, "/")
	if !ours || len(parts) != 3 {
		return cni.Attachment{}, false
	}
	return cni.Attachment{Network: parts[0], ContainerID: parts[1], IfName: parts[2]}, true
}
