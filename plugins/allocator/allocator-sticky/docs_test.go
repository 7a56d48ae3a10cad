// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/test/apiserver"
)

func readDocs(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/sticky.md")
	must(t, err)
	return string(text)
}

// TestDocuments has the API server take what docs/sticky.md shows, and print it.
func TestDocuments(t *testing.T) {
	s := apiserver.New(t) // the page's names are not the test's own
	applyComponent(t, s)
	allocate, _ := start(t, node(t, s, "node-1"))
	awaitPolicies(t, allocate, "node-1")
	s.Kubectl(t, "delete", "stickyaddresses", "--all")
	manifests := map[string]int{}
	for _, match := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```").FindAllStringSubmatch(readDocs(t), -1) {
		kind := regexp.MustCompile(`(?m)^kind: (.*)$`).FindStringSubmatch(match[1])
		switch {
		case kind == nil: // a kustomization, which the tests of deploy apply
		case kind[1] == v1alpha1.Kind:
			c, err := v1alpha1.Decode([]byte(match[1]))
			must(t, err)
			_, problems := c.Parse()
			must(t, problems.ToAggregate())
		default:
			_, err := s.TryKubectl(t.Context(), s.Kubeconfig(t), match[1], "create", "--dry-run=server", "-f", "-")
			must(t, err)
		}
		if kind != nil {
			manifests[kind[1]]++
		}
	}
	if len(manifests) != 3 {
		t.Errorf("the page has manifests of %v", manifests)
	}
	for pool, prefix := range map[string]string{"sticky4": "10.245.0.0/24", "sticky6": "2001:db8:ffff::/64"} {
		r := request("node-1", "3f2a94c1d0b7e58c", pod(0), prefix)
		r.Pool.Name = pool
		_, err := allocate.Allocate(t.Context(), r)
		must(t, err)
	}
	r := request("node-1", "b", pod(1), "10.245.0.0/24")
	r.Pool.Name = "sticky4"
	_, err := allocate.Allocate(t.Context(), r)
	must(t, err)
	must(t, allocate.Release(t.Context(), r.Attachment))
	waiting(t, s)
	commands(t, s)
}

// waiting has the pod of a node that is lost asked for on another one.
func waiting(t *testing.T, s *apiserver.Server) {
	t.Helper()
	other, _ := start(t, node(t, s, "node-2"))
	s.Kubectl(t, "patch", "node", "node-1", "--subresource=status", "--type=merge", "-p", `{"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}`)
	r := request("node-2", "b", pod(0), "10.245.0.0/24")
	r.Pool.Name = "sticky4"
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := other.Allocate(ctx, r)
	if err == nil || !strings.Contains(strings.Join(strings.Fields(readDocs(t)), " "), err.Error()) {
		t.Errorf("the page does not have: %v", err)
	}
}

// commands runs what the page does, in its order.
func commands(t *testing.T, s *apiserver.Server) {
	t.Helper()
	run := 0
	for _, match := range regexp.MustCompile("(?ms)^```console\n\\$ kubectl (.*?)\n(.*?)^```").FindAllStringSubmatch(readDocs(t), -1) {
		args := regexp.MustCompile(`'[^']*'|\S+`).FindAllString(match[1], -1)
		for i := range args {
			args[i] = strings.Trim(args[i], "'")
		}
		if args[0] == "delete" { // after the patch one is held yet
			s.Kubectl(t, "patch", "sticky", "2001-db8-ffff-0-8129-896-1b02-bf99", "--type=json", "-p", `[{"op": "remove", "path": "/spec/holder"}]`)
		}
		got := s.Kubectl(t, args...)
		if want := match[2]; want != "" && plain(got) != plain(want) {
			t.Errorf("kubectl %s prints\n%s\nwant\n%s", match[1], got, want)
		}
		run++
	}
	if left := s.Kubectl(t, "get", "sticky", "-o", "name"); run != 3 || left != "" {
		t.Errorf("after %d commands there are %q", run, left)
	}
}

// plain leaves out how wide columns are, and how old things.
func plain(table string) string {
	table = regexp.MustCompile(`\b\d+s\n`).ReplaceAllString(table, "AGE\n")
	return strings.TrimSpace(regexp.MustCompile(`[ \t]+\n?`).ReplaceAllStringFunc(table, func(s string) string {
		if strings.HasSuffix(s, "\n") {
			return "\n"
		}
		return " "
	}))
}
