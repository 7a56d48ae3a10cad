// SPDX-License-Identifier: Apache-2.0

package installer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// record remembers what was written, in the order in which it was put on the node.
type record struct {
	Files []written `json:"files"`
}

// written is one file. While an installation is under way it has the digests of the old and the new
// content.
type written struct {
	Path   string   `json:"path"`
	SHA256 []string `json:"sha256"`
}

// readRecord returns an empty record where there is none.
func readRecord(path string) (record, error) {
	var rec record
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return rec, nil
	}
	if err != nil {
		return rec, fmt.Errorf("read the record of what was installed: %w", err)
	}
	if err := json.Unmarshal(content, &rec); err != nil {
		return rec, fmt.Errorf("read the record of what was installed: %s: %w; remove it, then install with --force", path, err)
	}
	return rec, nil
}

func (r record) write(path string) error {
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	f := file{path, 0o644, append(content, '\n')}
	if now, err := look(path); err == nil && now.is(f) {
		return nil
	}
	if err := stage(f); err != nil {
		return err
	}
	return moveIn(f)
}

// wrote tells whether an installer wrote what was found at the path.
func (r record) wrote(path string, f found) bool {
	i := r.index(path)
	return i >= 0 && f.mode.IsRegular() && slices.Contains(r.Files[i].SHA256, digest(f.content))
}

func (r record) index(path string) int {
	return slices.IndexFunc(r.Files, func(w written) bool { return w.Path == path })
}

// with returns the record with the files' content added to what it has.
func (r record) with(files []file) record {
	sum := record{Files: r.others(files)}
	for _, f := range files {
		w := written{f.path, []string{digest(f.content)}}
		if i := r.index(f.path); i >= 0 {
			w.SHA256 = append(w.SHA256, r.Files[i].SHA256...)
			slices.Sort(w.SHA256)
			w.SHA256 = slices.Compact(w.SHA256)
		}
		sum.Files = append(sum.Files, w)
	}
	return sum
}

// settled returns the record with the files' content alone. Files of an earlier installation that are
// not among them stay in it, to be removed one day.
func (r record) settled(files []file) record {
	sum := record{Files: r.others(files)}
	for _, f := range files {
		sum.Files = append(sum.Files, written{f.path, []string{digest(f.content)}})
	}
	return sum
}

func (r record) others(files []file) []written {
	return slices.DeleteFunc(slices.Clone(r.Files), func(w written) bool {
		return slices.ContainsFunc(files, func(f file) bool { return f.path == w.Path })
	})
}
