// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// birdd runs a command of birdd in the test's own namespace, where it may look and not touch.
func birdd(args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd := exec.Command(os.Args[0], args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func TestRender(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "nodeconfig.yaml")
	text := "apiVersion: flock.fritzlab.net/v1alpha1\nkind: NodeConfig\nmetadata: {name: node-1}\nspec:\n" + secretSpec
	must(t, os.WriteFile(file, []byte(text), 0o600))
	stdout, stderr, err := birdd("render", "--config", file)
	if err != nil || strings.Contains(stdout, "protocol bgp") || !strings.Contains(stderr, "peer tor is left out") {
		t.Errorf("without the password: %v\n%s\n%s", err, stderr, stdout)
	}
	must(t, os.MkdirAll(filepath.Join(dir, "bgp"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "bgp", "tor"), []byte("hunter2"), 0o600))
	stdout, stderr, err = birdd("render", "--config", file, "--password-dir", dir, "--table", "5000")
	if err != nil || stderr != "" || !strings.Contains(stdout, `password "hunter2";`) || !strings.Contains(stdout, "kernel table 5000;") {
		t.Errorf("%v\n%s\n%s", err, stderr, stdout)
	}
	conf := filepath.Join(dir, "bird.conf")
	must(t, os.WriteFile(conf, []byte(stdout), 0o600))
	if out, err := exec.Command("bird", "-p", "-c", conf).CombinedOutput(); err != nil {
		t.Errorf("BIRD does not parse it: %s", out)
	}
}

func TestBootstrap(t *testing.T) {
	stdout, _, err := birdd("bootstrap")
	if err != nil || !strings.Contains(stdout, "protocol device") {
		t.Errorf("%v\n%s", err, stdout)
	}
}

func TestBadUse(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.yaml")
	must(t, os.WriteFile(empty, nil, 0o600))
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"run", "--table", "254"}, "--table 254"},
		{[]string{"run", "--config", filepath.Join(dir, "absent", "x"), "--bird-conf", filepath.Join(dir, "bird.conf"), "--state-dir", dir}, "watch " + dir},
		{[]string{"run", "--config", empty, "--bird-conf", filepath.Join(empty, "bird.conf"), "--state-dir", dir}, "make BIRD's folder"},
		{[]string{"run", "--config", empty, "--bird-conf", filepath.Join(dir, "bird.conf"), "--state-dir", dir, "--listen", "nowhere"}, "listen for health checks"},
		{[]string{"run", "--config", empty, "--node-name", "node-1"}, "--config and --node-name exclude each other"},
		{[]string{"run", "--node-name", "node-1", "--kubeconfig", filepath.Join(dir, "absent")}, "load kubeconfig"},
		{[]string{"run", "--node-name", "node-1"}, "find the API server from inside a pod"},
		{[]string{"bird", "--bird-conf", filepath.Join(dir, "absent", "bird.conf"), "--state-dir", dir}, "watch " + dir},
		{[]string{"bird", "--bird-conf", empty, "--state-dir", dir, "--program", "/bin/false"}, "BIRD has ended by itself"},
		{[]string{"render", "--config", empty}, "apiVersion"},
		{[]string{"render", "--table", "0"}, "--table 0"},
		{[]string{"status", "-o", "yaml"}, "neither table nor json"},
		{[]string{"status", "extra"}, "extra"},
		{[]string{"reload"}, "unknown command"},
	} {
		stdout, stderr, err := birdd(test.args...)
		if err == nil || stdout != "" || !strings.HasPrefix(stderr, "birdd: ") || !strings.Contains(stderr, test.want) {
			t.Errorf("birdd %v: %v, stdout %q, stderr %q, want %q", test.args, err, stdout, stderr, test.want)
		}
	}
}
