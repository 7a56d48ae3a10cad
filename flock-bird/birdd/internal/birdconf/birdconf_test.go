// SPDX-License-Identifier: Apache-2.0

package birdconf

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/speakerconf"
	"flock.fritzlab.net/flock/plugins/speaker"
)

var update = flag.Bool("update", false, "write the golden files")

// input returns what a NodeConfig of testdata is rendered from; the node's addresses are always these.
func input(t *testing.T, file string) speakerconf.Input {
	t.Helper()
	nodeConfig, err := v1alpha1.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	config, errs := nodeConfig.Parse()
	if errs != nil {
		t.Fatal(errs.ToAggregate())
	}
	return speakerconf.Input{
		Config: config,
		Table:  7273,
		Own: []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("10.0.0.1"),
			netip.MustParseAddr("fe80::1"), netip.MustParseAddr("127.0.0.1")},
		Passwords: map[string]speaker.Password{"tor-a": speaker.NewPassword("hunter 2; }")},
	}
}

func render(t *testing.T, in speakerconf.Input) []byte {
	t.Helper()
	out, err := Render(speakerconf.Make(in))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// birdParses lets BIRD itself parse the text.
func birdParses(t *testing.T, text []byte) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bird.conf")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("bird", "-p", "-c", file).CombinedOutput()
	if err != nil {
		t.Logf("bird -p: %v: %s", err, out)
	}
	return err
}

func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 11 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			got := render(t, input(t, file))
			golden := strings.TrimSuffix(file, ".yaml") + ".conf"
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if err := birdParses(t, got); err != nil {
				t.Error("BIRD does not parse it")
			}
		})
	}
}

func TestOrderDoesNotMatter(t *testing.T) {
	in := input(t, "testdata/dual-stack.yaml")
	want := render(t, in)
	slices.Reverse(in.Config.Summaries)
	slices.Reverse(in.Config.BGP.Peers)
	slices.Reverse(in.Config.BGP.ExportAccept)
	slices.Reverse(in.Own)
	in.Own = append(in.Own, in.Own...)
	if diff := cmp.Diff(string(want), string(render(t, in))); diff != "" {
		t.Errorf("(-in order +reversed):\n%s", diff)
	}
}

func TestBirdRefusesWhatIsWrong(t *testing.T) {
	good := render(t, input(t, "testdata/ipv6-only.yaml"))
	for _, test := range []struct{ name, old, new string }{
		{"keyword", "graceful restart wait", "graceful restart weight"},
		{"table that BIRD has already", "table announce6;", "table master6;"},
		{"link-local peer without an interface", "2001:db8::a as", "fe80::a as"},
		{"truncated", "\n}\n", "\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bad := bytes.Replace(good, []byte(test.old), []byte(test.new), 1)
			if bytes.Equal(bad, good) || birdParses(t, bad) == nil {
				t.Error("BIRD parses it")
			}
		})
	}
}

func TestBootstrap(t *testing.T) {
	if err := birdParses(t, Bootstrap); err != nil {
		t.Error("BIRD does not parse it")
	}
}

// TestEveryPassword renders each character that a password may hold, and the longest password.
func TestEveryPassword(t *testing.T) {
	in := input(t, "testdata/password.yaml")
	all := ""
	for c := ' '; c <= '~'; c++ {
		if c != '"' {
			all += string(c)
		}
	}
	for _, text := range []string{all[:80], all[len(all)-80:], strings.Repeat("\\", 80), "#", "}"} {
		in.Passwords["tor-a"] = speaker.NewPassword(text)
		out := render(t, in)
		if !bytes.Contains(out, []byte("\tpassword \""+text+"\";\n")) {
			t.Errorf("%q is not rendered", text)
		}
		if err := birdParses(t, out); err != nil {
			t.Errorf("BIRD does not parse %q", text)
		}
	}
}

func TestPeerWithoutItsPasswordIsLeftOut(t *testing.T) {
	in := input(t, "testdata/password.yaml")
	in.Passwords = nil
	if out := render(t, in); bytes.Contains(out, []byte("protocol bgp")) {
		t.Errorf("a peer is rendered without its password:\n%s", out)
	}
}
