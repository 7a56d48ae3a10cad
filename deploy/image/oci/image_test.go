// SPDX-License-Identifier: Apache-2.0

package oci

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
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
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
	files := Tree{
		"usr/local/bin/b": {Mode: 0o755, Content: []byte("b")},
		"usr/local/bin/a": {Mode: 0o755, Content: []byte("a")},
		"var/run":         {Mode: os.ModeSymlink | 0o777, Target: "../run"},
		"run":             {Mode: os.ModeDir | 0o755},
	}
	file := filepath.Join(t.TempDir(), "x.tar")
	want, err := Image{Name: "localhost/x:1", Arch: "amd64", Command: []string{"a"}, Files: files}.Write(file)
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
