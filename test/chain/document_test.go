// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// fence matches a code block that is named after its language: ```json ptp.conflist.
var fence = regexp.MustCompile("(?ms)^```(?:json|sh) ([a-z0-9.-]+)\n(.*?)^```$")

// blocks returns the named code blocks of docs/mixing.md: what the page shows is what the tests run.
func blocks(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/mixing.md")
	check(t, err)
	found := map[string]string{}
	for _, match := range fence.FindAllStringSubmatch(string(page), -1) {
		if _, twice := found[match[1]]; twice {
			t.Fatalf("docs/mixing.md has two blocks named %s", match[1])
		}
		found[match[1]] = match[2]
	}
	return found
}

// withFolders returns the conflist with the folders that state is kept in replaced: stateDir for
// flock's plugins, dataDir for host-local. Nothing else is touched.
func withFolders(t *testing.T, conflist, stateDir string) []byte {
	t.Helper()
	var list map[string]any
	check(t, json.Unmarshal([]byte(conflist), &list))
	for _, plugin := range list["plugins"].([]any) {
		plugin := plugin.(map[string]any)
		setFolder(plugin, stateDir)
		if ipam, ok := plugin["ipam"].(map[string]any); ok {
			setFolder(ipam, stateDir)
		}
	}
	text, err := json.Marshal(list)
	check(t, err)
	return text
}

func setFolder(conf map[string]any, dir string) {
	switch name := fmt.Sprint(conf["type"]); {
	case strings.HasPrefix(name, "flock-"):
		conf["stateDir"] = dir
	case name == "host-local":
		conf["dataDir"] = dir + "/host-local"
	}
}
