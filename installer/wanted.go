// SPDX-License-Identifier: Apache-2.0

package installer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"flock.fritzlab.net/flock/conflist"
	"flock.fritzlab.net/flock/internal/rtnl"
)

// file is one file as it must be on the node.
type file struct {
	path    string
	mode    fs.FileMode
	content []byte
}

// wanted returns every file that belongs on the node, in the order in which they are put there.
func (in *Installer) wanted() ([]file, error) {
	list, err := in.conflist()
	if err != nil {
		return nil, err
	}
	files, err := in.plugins()
	if err != nil {
		return nil, err
	}
	files = append(files, in.names()...)
	return append(files, file{filepath.Join(in.ConfDir, conflist.FileName), 0o644, list}), nil
}

func (in *Installer) conflist() ([]byte, error) {
	list, err := conflist.New(in.Conflist)
	if err != nil {
		return nil, err
	}
	return list.JSON()
}

// plugins returns all of flock's, whatever the conflist names: a stage serves other chains too.
func (in *Installer) plugins() ([]file, error) {
	var files []file
	var errs []error
	for _, name := range conflist.Stages {
		path := filepath.Join(in.From, name)
		content, err := os.ReadFile(path)
		if err == nil && len(content) == 0 {
			err = &fs.PathError{Op: "read", Path: path, Err: errors.New("empty file")}
		}
		errs = append(errs, err)
		files = append(files, file{filepath.Join(in.BinDir, name), 0o755, content})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("find the plugins to install: %w", err)
	}
	return files, nil
}

// namesFile is read by iproute2 in each of its folders that end in ".d".
const namesFile = "flock.conf"

// names returns the files that let "ip route" print flock's numbers as words.
func (in *Installer) names() []file {
	table := in.Conflist.Bird.Table
	if table == 0 {
		table = rtnl.TableAnnounce
	}
	const header = "# Written by flock-installer.\n"
	protos := fmt.Sprintf(header+"%d\tflock\n%d\tflock-announce\n", rtnl.Proto, rtnl.ProtoAnnounce)
	tables := fmt.Sprintf(header+"%d\tflock\n", table)
	var files []file
	if in.ProtosDir != "" {
		files = append(files, file{filepath.Join(in.ProtosDir, namesFile), 0o644, []byte(protos)})
	}
	if in.TablesDir != "" {
		files = append(files, file{filepath.Join(in.TablesDir, namesFile), 0o644, []byte(tables)})
	}
	return files
}

// checkChained wants the executables of the plugins that follow flock's: with one of them missing no
// pod of the node would start.
func (in *Installer) checkChained() error {
	list, err := conflist.New(in.Conflist)
	if err != nil {
		return err
	}
	types, err := list.Types()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range types {
		if slices.Contains(conflist.Stages, name) {
			continue
		}
		path := filepath.Join(in.BinDir, name)
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
			errs = append(errs, fmt.Errorf("chain plugin %s: %s is no executable; install it first (containernetworking/plugins)", name, path))
		}
	}
	return errors.Join(errs...)
}
