// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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
		if digest(a) != digest(b) {
			t.Errorf("%s is %s, and made again %s", name, digest(a), digest(b))
		}
	}
}

// readTar returns the entries of a tar in their order, and their content.
func readTar(t *testing.T, r io.Reader) ([]*tar.Header, map[string][]byte) {
	t.Helper()
	var headers []*tar.Header
	content := map[string][]byte{}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return headers, content
		}
		must(t, err)
		headers = append(headers, h)
		content[h.Name], err = io.ReadAll(tr)
		must(t, err)
	}
}

func decode[T any](t *testing.T, content []byte) T {
	t.Helper()
	var doc T
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	must(t, d.Decode(&doc))
	return doc
}

// TestArchive follows every digest from the index down to the files.
func TestArchive(t *testing.T) {
	files := tree{
		"usr/local/bin/b": {mode: 0o755, content: []byte("b")},
		"usr/local/bin/a": {mode: 0o755, content: []byte("a")},
		"var/run":         {mode: os.ModeSymlink | 0o777, target: "../run"},
		"run":             {mode: os.ModeDir | 0o755},
	}
	file := filepath.Join(t.TempDir(), "x.tar")
	want, err := image{name: "localhost/x:1", arch: "amd64", command: []string{"a"}, files: files}.write(file)
	must(t, err)
	archive, err := os.Open(file)
	must(t, err)
	defer archive.Close()
	_, blobs := readTar(t, archive)
	if got := string(blobs["oci-layout"]); got != `{"imageLayoutVersion":"1.0.0"}` {
		t.Errorf("oci-layout is %s", got)
	}
	fetch := func(d descriptor) []byte {
		content := blobs["blobs/"+strings.Replace(d.Digest, ":", "/", 1)]
		if digest(content) != d.Digest || len(content) != d.Size {
			t.Fatalf("blob %s is not what its descriptor says", d.Digest)
		}
		return content
	}
	top := decode[index](t, blobs["index.json"]).Manifests[0]
	if top.Digest != want || top.Annotations["io.containerd.image.name"] != "localhost/x:1" || top.Annotations["org.opencontainers.image.ref.name"] != "1" {
		t.Errorf("the index has %+v, want digest %s", top, want)
	}
	m := decode[manifest](t, fetch(top))
	c := decode[config](t, fetch(m.Config))
	unpacked, err := gzip.NewReader(bytes.NewReader(fetch(m.Layers[0])))
	must(t, err)
	layer, err := io.ReadAll(unpacked)
	must(t, err)
	if c.RootFS.DiffIDs[0] != digest(layer) {
		t.Errorf("the layer is %s, the configuration has %s", digest(layer), c.RootFS.DiffIDs[0])
	}
	checkLayer(t, layer)
}

func checkLayer(t *testing.T, layer []byte) {
	t.Helper()
	headers, content := readTar(t, bytes.NewReader(layer))
	var names []string
	for _, h := range headers {
		names = append(names, h.Name)
		if !h.ModTime.Equal(time.Unix(0, 0)) || h.Uid != 0 || h.Gid != 0 || h.Uname != "" {
			t.Errorf("%s is of %s and of user %d %s", h.Name, h.ModTime, h.Uid, h.Uname)
		}
	}
	want := []string{"run/", "usr/", "usr/local/", "usr/local/bin/", "usr/local/bin/a", "usr/local/bin/b", "var/", "var/run"}
	if !slices.Equal(names, want) || string(content["usr/local/bin/b"]) != "b" {
		t.Errorf("the layer has %q, want %q", names, want)
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
	if err := run(t.TempDir(), t.TempDir(), "test"); err == nil || !strings.Contains(err.Error(), "flock-ipam") {
		t.Errorf("without programs: %v", err)
	}
	if _, err := download([]string{"flock-no-such-package"}); err == nil || !strings.Contains(err.Error(), "flock-no-such-package") {
		t.Errorf("no such package: %v", err)
	}
}
