// SPDX-License-Identifier: Apache-2.0

// Package installer puts flock's plugins, its conflist and the names of its numbers on a node, and
// takes away exactly what it put there.
//
// A running node sees either the old or the new installation: every file is written beside its
// place, flushed and renamed, the plugins first and the conflist, which makes the runtime use them,
// last. A record of what was written tells flock's files from an operator's.
package installer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"flock.fritzlab.net/flock/conflist"
)

// Config says what belongs on the node, and where.
type Config struct {
	// From is the folder that holds the plugins to install.
	From string
	// BinDir and ConfDir are the runtime's folders. They must exist.
	BinDir, ConfDir string
	// ProtosDir and TablesDir are iproute2's folders for names, made when missing; "" installs none.
	ProtosDir, TablesDir string
	// Record is the file that remembers what was written; its folder is made when missing.
	Record string
	// Conflist says what the conflist holds.
	Conflist conflist.Options
	// Force replaces and removes files that are not flock's, or were edited.
	Force bool
}

// Installer works on one node.
type Installer struct {
	Config
	// Out gets a line for each file: what was done with it.
	Out io.Writer
	// step is called after every change that a crash could follow.
	step func()
}

// New returns an installer that reports to out.
func New(c Config, out io.Writer) *Installer {
	return &Installer{Config: c, Out: out, step: func() {}}
}

// ErrNotOurs tells that a file in the way was not written by an installer, or edited since.
var ErrNotOurs = errors.New("not written by flock-installer, or edited since; move it away, or overrule with --force")

// Install makes the node what the configuration says. Files that are right already stay as they are.
// When it fails before the first file is in place, nothing has changed; a foreign file ([ErrNotOurs]),
// and a folder that is absent, full or read-only, are found by then.
func (in *Installer) Install() error {
	files, err := in.wanted()
	if err != nil {
		return err
	}
	if err := errors.Join(checkDir(in.BinDir), checkDir(in.ConfDir), in.checkChained()); err != nil {
		return err
	}
	if err := in.makeOwnDirs(); err != nil {
		return err
	}
	unlock, err := lockDir(filepath.Dir(in.Record))
	if err != nil {
		return err
	}
	defer unlock()
	rec, err := readRecord(in.Record)
	if err != nil {
		return err
	}
	changed, err := in.plan(files, rec)
	if err != nil {
		return err
	}
	return in.apply(files, changed, rec)
}

// plan returns the files that must be written, or an error that names every foreign file in the way.
func (in *Installer) plan(files []file, rec record) ([]file, error) {
	var changed []file
	var errs []error
	for _, f := range files {
		found, err := look(f.path)
		switch {
		case err != nil:
			errs = append(errs, err)
		case found.is(f):
			fmt.Fprintln(in.Out, "unchanged", f.path)
		case found.exists && !found.holds(f) && !rec.wrote(f.path, found) && !in.Force:
			errs = append(errs, fmt.Errorf("replace %s (%s): %w", f.path, found.kind(), ErrNotOurs))
		default:
			changed = append(changed, f)
		}
	}
	return changed, errors.Join(errs...)
}

// apply stages every changed file before it moves the first one. The record learns of new content
// before it is in place: a crash in between must not make it a stranger's.
func (in *Installer) apply(files, changed []file, rec record) error {
	discardStaged(files)
	defer discardStaged(changed)
	for _, f := range changed {
		if err := stage(f); err != nil {
			return err
		}
		in.step()
	}
	if err := rec.with(files).write(in.Record); err != nil {
		return err
	}
	in.step()
	for _, f := range changed {
		if err := moveIn(f); err != nil {
			return err
		}
		fmt.Fprintln(in.Out, "wrote", f.path)
		in.step()
	}
	return rec.settled(files).write(in.Record)
}

// Uninstall removes the files that the record lists, the conflist first and the plugins last. One that
// was edited or replaced since makes it refuse ([ErrNotOurs]) and remove nothing.
func (in *Installer) Uninstall() error {
	unlock, err := lockDir(filepath.Dir(in.Record))
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintln(in.Out, "nothing installed: no record", in.Record)
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	rec, err := readRecord(in.Record)
	if err != nil {
		return err
	}
	if len(rec.Files) == 0 {
		fmt.Fprintln(in.Out, "nothing installed: no record", in.Record)
	}
	if err := in.checkRemovable(rec); err != nil {
		return err
	}
	for i := len(rec.Files) - 1; i >= 0; i-- {
		if err := in.remove(rec.Files[i].Path); err != nil {
			return err
		}
		in.step()
	}
	return removeFile(in.Record)
}

func (in *Installer) checkRemovable(rec record) error {
	var errs []error
	for _, f := range rec.Files {
		found, err := look(f.Path)
		if err != nil {
			errs = append(errs, err)
		} else if found.exists && !rec.wrote(f.Path, found) && !in.Force {
			errs = append(errs, fmt.Errorf("remove %s (%s): %w", f.Path, found.kind(), ErrNotOurs))
		}
	}
	return errors.Join(errs...)
}

func (in *Installer) remove(path string) error {
	os.Remove(stagedPath(path))
	found, err := look(path)
	if err != nil {
		return err
	}
	if !found.exists {
		fmt.Fprintln(in.Out, "absent", path)
		return nil
	}
	if err := removeFile(path); err != nil {
		return err
	}
	fmt.Fprintln(in.Out, "removed", path)
	return nil
}

// Render writes the conflist that Install would write.
func (in *Installer) Render() error {
	text, err := in.conflist()
	if err != nil {
		return err
	}
	_, err = in.Out.Write(text)
	return err
}

// makeOwnDirs makes the folders that are flock's own or a convention, not the runtime's: a runtime's
// that is absent means that there is none, or that it looks elsewhere ([checkDir]).
func (in *Installer) makeOwnDirs() error {
	for _, dir := range []string{in.ProtosDir, in.TablesDir, filepath.Dir(in.Record)} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make folder %s: %w", dir, err)
		}
	}
	return nil
}
