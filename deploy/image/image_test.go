// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"flock.fritzlab.net/flock/internal/extension"
	"flock.fritzlab.net/flock/test/build"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// make runs the command and returns the folder of the archives.
func makeImages(t *testing.T) string {
	t.Helper()
	bin, err := build.Flock(t.Context())
	must(t, err)
	out := t.TempDir()
	must(t, run(bin, out, "test"))
	return out
}

func TestSameInputSameDigest(t *testing.T) {
	first, second := makeImages(t), makeImages(t)
	for _, name := range []string{"flock.tar", "bird.tar"} {
		a, err := os.ReadFile(filepath.Join(first, name))
		must(t, err)
		b, err := os.ReadFile(filepath.Join(second, name))
		must(t, err)
		if !bytes.Equal(a, b) {
			t.Errorf("%s, made again, is another", name)
		}
	}
}

// TestExtensions: the daemons find the extensions, and find nothing wrong with them.
func TestExtensions(t *testing.T) {
	bin, err := build.Flock(t.Context())
	must(t, err)
	img, err := flockImage(bin, "test")
	must(t, err)
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, extensionDir), 0o755))
	for name, e := range img.Files {
		if strings.HasPrefix(name, extensionDir) {
			path := filepath.Join(root, name)
			must(t, errors.Join(os.WriteFile(path, e.Content, 0o600), os.Chmod(path, e.Mode)))
		}
	}
	dir := extension.Dir{Path: root + extension.DefaultDir}
	for kind, name := range map[string]string{"speaker": "gobgp", "allocator": "sticky"} {
		if _, err := dir.Find(kind, name); err != nil {
			t.Error(err)
		}
	}
}

func TestClosure(t *testing.T) {
	debian, err := download(birdPackages)
	must(t, err)
	if !strings.Contains(debian.versions, "bird2=") {
		t.Errorf("versions are %q", debian.versions)
	}
	files, err := debian.closure("usr/sbin/bird")
	must(t, err)
	for _, want := range []string{"usr/sbin/bird", "lib64", "usr/share/doc/bird2/copyright"} {
		if _, has := files[want]; !has {
			t.Errorf("no %s in the closure", want)
		}
	}
	if _, has := files["usr/sbin/birdc"]; has {
		t.Error("birdc, which nothing needs, is in the closure")
	}
	delete(debian.files, "usr/lib/x86_64-linux-gnu/libssh-gcrypt.so.4")
	if _, err := debian.closure("usr/sbin/bird"); err == nil || !strings.Contains(err.Error(), "libssh-gcrypt.so.4") {
		t.Errorf("closure without a library: %v", err)
	}
}

func TestErrors(t *testing.T) {
	for range 20 { // the first one missing is named, each time
		if err := run(t.TempDir(), t.TempDir(), "test"); err == nil || !strings.Contains(err.Error(), "flock-ipam") {
			t.Errorf("without programs: %v", err)
		}
	}
	if _, err := download([]string{"flock-no-such-package"}); err == nil || !strings.Contains(err.Error(), "flock-no-such-package") {
		t.Errorf("no such package: %v", err)
	}
}
