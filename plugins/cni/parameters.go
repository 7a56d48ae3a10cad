// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"fmt"
	"os"
	"strings"
	"unicode"

	"github.com/containernetworking/cni/pkg/types"
)

// parameters are what the runtime says in the environment (CNI specification, section 2, "Parameters").
type parameters struct {
	command, containerID, netns, ifName, args, path string
	// override allows the plugin's own network namespace for CNI_NETNS.
	override bool
}

func readParameters() parameters {
	override := os.Getenv("CNI_NETNS_OVERRIDE")
	return parameters{
		command: os.Getenv("CNI_COMMAND"), containerID: os.Getenv("CNI_CONTAINERID"), netns: os.Getenv("CNI_NETNS"),
		ifName: os.Getenv("CNI_IFNAME"), args: os.Getenv("CNI_ARGS"), path: os.Getenv("CNI_PATH"),
		override: override == "1" || strings.EqualFold(override, "true"),
	}
}

// since is the specification's version that brought each verb.
var since = map[string]string{"ADD": "0.1.0", "DEL": "0.1.0", "CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}

// check refuses parameters that are missing, or that no container, link or verb can have.
func (p *parameters) check() error {
	if since[p.command] == "" {
		return badParameter("CNI_COMMAND %q is no verb", p.command)
	}
	attaches := p.command == "ADD" || p.command == "CHECK"
	for _, v := range []struct {
		name, value string
		required    bool
	}{
		{"CNI_CONTAINERID", p.containerID, attaches || p.command == "DEL"}, {"CNI_NETNS", p.netns, attaches},
		{"CNI_IFNAME", p.ifName, attaches || p.command == "DEL"}, {"CNI_PATH", p.path, true},
	} {
		if v.required && v.value == "" {
			return badParameter("%s is missing for %s", v.name, p.command)
		}
	}
	if p.containerID != "" && !validName(p.containerID) {
		return badParameter("CNI_CONTAINERID %.80q: it takes letters, digits, and after the first _ . -", p.containerID)
	}
	if p.ifName != "" && !validIfName(p.ifName) {
		return badParameter("CNI_IFNAME %.80q: no interface name, which has up to 15 bytes and no slash, colon or space", p.ifName)
	}
	return p.checkNetns(attaches)
}

func badParameter(format string, args ...any) error {
	return Wrap(types.ErrInvalidEnvironmentVariables, fmt.Errorf("read the environment: "+format, args...))
}

// validName tells whether a container or a network may be called so (CNI specification, sections 1 and 2).
func validName(s string) bool {
	for i, r := range s {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		case i > 0 && (r == '_' || r == '.' || r == '-'):
		default:
			return false
		}
	}
	return s != ""
}

// maxIfName is the kernel's limit for a link's name (IFNAMSIZ less the terminator).
const maxIfName = 15

// validIfName tells whether the kernel takes it for a link's name.
func validIfName(s string) bool {
	bad := func(r rune) bool { return r == '/' || r == ':' || unicode.IsSpace(r) }
	return len(s) <= maxIfName && s != "." && s != ".." && !strings.ContainsFunc(s, bad)
}
