// SPDX-License-Identifier: Apache-2.0

package installer

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"unicode/utf8"

	"flock.fritzlab.net/flock/conflist"
)

// Check compares the node with what Install would make of it, names each difference in a line on Out
// and returns an error if there is one.
func (in *Installer) Check() error {
	files, err := in.wanted()
	if err != nil {
		return err
	}
	var differences []string
	for _, f := range files {
		if d := difference(f); d != "" {
			differences = append(differences, f.path+": "+d)
		}
	}
	if err := in.checkChained(); err != nil {
		differences = append(differences, err.Error())
	}
	differences = append(differences, in.shadowing()...)
	for _, d := range differences {
		fmt.Fprintln(in.Out, d)
	}
	if n := len(differences); n > 0 {
		return fmt.Errorf("check the installation: %d differences", n)
	}
	fmt.Fprintln(in.Out, "installed as wanted:", len(files), "files")
	return nil
}

// difference returns how the node differs from the file, "" if it does not.
func difference(want file) string {
	now, err := look(want.path)
	switch {
	case err != nil:
		return err.Error()
	case !now.exists:
		return "absent"
	case !now.mode.IsRegular():
		return now.kind() + ", want a file"
	case !now.holds(want):
		return contentDifference(now.content, want.content)
	case now.mode != want.mode:
		return fmt.Sprintf("mode %04o, want %04o", now.mode, want.mode)
	}
	return ""
}

// contentDifference quotes the first line that differs, or says that a binary does.
func contentDifference(have, want []byte) string {
	if !utf8.Valid(have) || !utf8.Valid(want) {
		return fmt.Sprintf("differs: sha256 %.12s, want %.12s", digest(have), digest(want))
	}
	haveLines, wantLines := bytes.Split(have, []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range max(len(haveLines), len(wantLines)) {
		h, w := line(haveLines, i), line(wantLines, i)
		if h != w {
			return fmt.Sprintf("line %d is %q, want %q", i+1, h, w)
		}
	}
	return "differs"
}

func line(lines [][]byte, i int) string {
	if i >= len(lines) {
		return ""
	}
	return string(bytes.TrimSpace(lines[i]))
}

// shadowing returns what the runtime takes before flock's conflist: the first file by name wins.
func (in *Installer) shadowing() []string {
	entries, err := os.ReadDir(in.ConfDir)
	if err != nil {
		return []string{fmt.Sprintf("read folder %s: %v", in.ConfDir, err)}
	}
	var lines []string
	for _, e := range entries {
		kinds := []string{".conflist", ".conf", ".json"}
		if e.Name() < conflist.FileName && slices.Contains(kinds, filepath.Ext(e.Name())) {
			lines = append(lines, filepath.Join(in.ConfDir, e.Name())+": comes before "+conflist.FileName+", so the runtime takes it instead")
		}
	}
	return lines
}
