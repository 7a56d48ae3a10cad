// SPDX-License-Identifier: Apache-2.0

package delegate

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
)

// plugin writes an executable of the shell script to a folder that CNI_PATH names.
func plugin(t *testing.T, script string) Plugin {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "fake"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CNI_PATH", "/nonexistent:"+dir)
	t.Setenv("CNI_COMMAND", "VERSION")
	t.Setenv("CNI_CONTAINERID", "c1")
	return Plugin{Type: "fake", CNIVersion: "1.0.0", Config: []byte(`{"name":"n"}`)}
}

func TestAdd(t *testing.T) {
	for _, test := range []struct {
		name, script string
		want, refuse string
	}{
		{name: "newest", script: `echo '{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.5/24"}]}'`, want: "10.0.0.5/24"},
		{name: "old", script: `echo '{"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.0.0.6/24"}]}'`, want: "10.0.0.6/24"},
		{name: "version left out", script: `echo '{"ips":[{"address":"10.0.0.7/24"}]}'`, want: "10.0.0.7/24"},
		{name: "the process's environment, another verb",
			script: `[ "$CNI_COMMAND $CNI_CONTAINERID" = "ADD c1" ] && echo '{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.8/24"}]}'`, want: "10.0.0.8/24"},
		{name: "the configuration", script: `[ "$(cat)" = '{"name":"n"}' ] && echo '{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.9/24"}]}'`, want: "10.0.0.9/24"},
		{name: "nothing", script: `true`, refuse: "read the result of ipam plugin fake"},
		{name: "null", script: `echo null`, refuse: "read the result of ipam plugin fake: it is null"},
		{name: "no object", script: `echo '[]'`, refuse: "read the result of ipam plugin fake"},
		{name: "unknown version", script: `echo '{"cniVersion":"7.0.0"}'`, refuse: "read the result of ipam plugin fake"},
		{name: "bad address", script: `echo '{"cniVersion":"1.0.0","ips":[{"address":"x"}]}'`, refuse: "read the result of ipam plugin fake"},
		{name: "words", script: `echo help; exit 3`, refuse: `run ipam plugin fake for ADD: exit status 3: "help\n"`},
		{name: "killed", script: `kill -9 $$`, refuse: "run ipam plugin fake for ADD: signal: killed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			result, err := plugin(t, test.script).Add(t.Context())
			if test.refuse != "" {
				if err == nil || !strings.HasPrefix(err.Error(), test.refuse) {
					t.Errorf("Add = %v, want an error that begins with %q", err, test.refuse)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := result.IPs[0].Address.String(); got != test.want {
				t.Errorf("Add returned %s, want %s", got, test.want)
			}
		})
	}
}

// A plugin's own error keeps its code, so that a runtime can act on it.
func TestRunKeepsTheCode(t *testing.T) {
	err := plugin(t, `echo '{"code":11,"msg":"not yet","details":"soon"}'; exit 1`).Run(t.Context(), "STATUS")
	said := (*types.Error)(nil)
	if !errors.As(err, &said) || said.Code != 11 || said.Msg != "ipam plugin fake: not yet" || said.Details != "soon" {
		t.Errorf("Run = %#v", err)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "data"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CNI_PATH", dir)
	for _, name := range []string{"absent", "data", "folder", "", "../data", "/bin/true"} {
		if err := (Plugin{Type: name}).Run(t.Context(), "DEL"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Run of %q = %v, want ErrNotFound", name, err)
		}
	}
}
