// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
)

// Tree is the content of a layer, by paths without a leading slash. Folders above its entries need not be in
// it.
type Tree map[string]Entry

// Entry is a file, a folder or a symbolic link to Target.
type Entry struct {
	Mode    fs.FileMode
	Content []byte
	Target  string
}

// Copy takes an executable from this machine.
func (t Tree) Copy(name, from string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	t[name] = Entry{Mode: 0o755, Content: content}
	return nil
}

// tar returns the tree as a tar in the order of the names, and with nothing in it that another run or
// another user would make different.
func (t Tree) tar() ([]byte, error) {
	whole := maps.Clone(t)
	for name := range t {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, is := whole[dir]; !is {
				whole[dir] = Entry{Mode: fs.ModeDir | 0o755}
			}
		}
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(whole)) {
		e := whole[name]
		header := &tar.Header{Name: name, Mode: int64(e.Mode.Perm()), Size: int64(len(e.Content)), Linkname: e.Target, Typeflag: tar.TypeReg}
		switch e.Mode.Type() {
		case fs.ModeDir:
			header.Name, header.Typeflag = name+"/", tar.TypeDir
		case fs.ModeSymlink:
			header.Typeflag = tar.TypeSymlink
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.Content); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}

func compress(content []byte) ([]byte, error) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(content)
	err = errors.Join(err, w.Close())
	return out.Bytes(), err
}
