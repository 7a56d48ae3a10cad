// SPDX-License-Identifier: Apache-2.0

package password

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"flock.fritzlab.net/flock/api/v1alpha1"
)

func TestParse(t *testing.T) {
	long := strings.Repeat("x", 80)
	for _, test := range []struct{ name, text, want, err string }{
		{"plain", "hunter2", "hunter2", ""},
		{"newline at the end", "hunter2\n", "hunter2", ""},
		{"BIRD's own characters", "a; } # ' \\ %", "a; } # ' \\ %", ""},
		{"longest", long, long, ""},
		{"longest and newline", long + "\n", long, ""},
		{"too long", long + "x", "", "longer than TCP MD5's 80 bytes"},
		{"empty", "", "", "is empty"},
		{"newline alone", "\n", "", "is empty"},
		{"double quote", `hunter"2`, "", "at byte 7"},
		{"two newlines", "hunter2\n\n", "", "at byte 8"},
		{"newline within", "hunter2\npassword", "", "at byte 8"},
		{"carriage return", "hunter2\r\n", "", "at byte 8"},
		{"NUL", "hunter2\x00", "", "at byte 8"},
		{"not ASCII", "hünter2", "", "at byte 2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Parse(test.text)
			if test.err == "" && (err != nil || got.Reveal() != test.want) {
				t.Errorf("Parse = %q, %v", got.Reveal(), err)
			}
			if test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), "unter")) {
				t.Errorf("Parse: %v, want an error with %q that does not show the text", err, test.err)
			}
		})
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	ref := v1alpha1.SecretKeyRef{Name: "bgp", Key: "tor"}
	file := filepath.Join(dir, "bgp", "tor")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, text string
		mode       os.FileMode
		want, err  string
	}{
		{"owner's", "hunter2\n", 0o600, "hunter2", ""},
		{"group's", "hunter2\n", 0o640, "hunter2", ""},
		{"everybody's", "hunter2\n", 0o644, "", "open to everybody"},
		{"everybody's to write", "hunter2\n", 0o602, "", "open to everybody"},
		{"bad", "hunter\"2\n", 0o600, "", "read password bgp/tor: it has at byte 7"},
		{"endless", strings.Repeat("x", 1<<20), 0o600, "", "longer than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := errors.Join(os.WriteFile(file, []byte(test.text), 0o600), os.Chmod(file, test.mode)); err != nil {
				t.Fatal(err)
			}
			got, err := Dir(dir).Read(ref)
			if test.err == "" && (err != nil || got.Reveal() != test.want) {
				t.Errorf("Read = %q, %v", got.Reveal(), err)
			}
			if test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("Read: %v, want an error with %q", err, test.err)
			}
		})
	}
	if _, err := Dir(dir).Read(v1alpha1.SecretKeyRef{Name: "bgp", Key: "other"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read of an absent file: %v", err)
	}
	if _, err := Dir("").Read(ref); err == nil || !strings.Contains(err.Error(), "--password-dir") {
		t.Errorf("Read without a directory: %v", err)
	}
}
