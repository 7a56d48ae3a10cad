// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"flock.fritzlab.net/flock/deploy/image/oci"
)

// birdPackages hold BIRD and all that it loads. When a library goes to another package, closure names the
// library.
var birdPackages = []string{
	"bird2", "libc6", "libcom-err2", "libgcrypt20", "libgpg-error0", "libgssapi-krb5-2", "libk5crypto3", "libkeyutils1",
	"libkrb5-3", "libkrb5support0", "libreadline8", "libssh-gcrypt-4", "libtinfo6", "zlib1g",
}

// packages are Debian packages, unpacked together.
type packages struct {
	files oci.Tree
	// versions lists name=version, separated by spaces.
	versions string
}

// download gets packages from the archive that this machine's apt is set up for.
func download(names []string) (packages, error) {
	dir, err := os.MkdirTemp("", "flock-image-")
	if err != nil {
		return packages{}, err
	}
	defer os.RemoveAll(dir)
	if err := aptDownload(dir, names); err != nil {
		return packages{}, fmt.Errorf("download Debian packages (elsewhere than on Debian, use the Dockerfile): %w", err)
	}
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return packages{}, err
	}
	all := packages{files: oci.Tree{}}
	var versions []string
	for _, deb := range debs {
		if err := all.unpack(deb); err != nil {
			return packages{}, fmt.Errorf("unpack %s: %w", filepath.Base(deb), err)
		}
		version, err := output("", "dpkg-deb", "--show", "--showformat=${Package}=${Version}", deb)
		if err != nil {
			return packages{}, err
		}
		versions = append(versions, string(version))
	}
	slices.Sort(versions)
	all.versions = strings.Join(versions, " ")
	return all, nil
}

// aptDownload gets the lists of packages only when they are missing or stale.
func aptDownload(dir string, names []string) error {
	get := append([]string{"download", "-qq", "-o", "APT::Sandbox::User=root"}, names...)
	_, err := output(dir, "apt-get", get...)
	if err == nil {
		return nil
	}
	if _, uerr := output(dir, "apt-get", "update", "-qq"); uerr != nil { // another may be at it
		return errors.Join(err, uerr)
	}
	_, err = output(dir, "apt-get", get...)
	return err
}

func output(dir, name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if failed := new(exec.ExitError); errors.As(err, &failed) {
		err = fmt.Errorf("%s %s: %w: %s", name, args[0], err, bytes.TrimSpace(failed.Stderr))
	}
	return out, err
}

func (p packages) unpack(deb string) error {
	content, err := output("", "dpkg-deb", "--fsys-tarfile", deb)
	if err != nil {
		return err
	}
	r := tar.NewReader(bytes.NewReader(content))
	for {
		header, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := p.take(header, r); err != nil {
			return err
		}
	}
}

func (p packages) take(header *tar.Header, r io.Reader) error {
	name := merged(path.Clean(header.Name))
	switch header.Typeflag {
	case tar.TypeReg:
		content, err := io.ReadAll(r)
		p.files[name] = oci.Entry{Mode: fs.FileMode(header.Mode).Perm(), Content: content}
		return err
	case tar.TypeSymlink:
		p.files[name] = oci.Entry{Mode: fs.ModeSymlink | 0o777, Target: header.Linkname}
	case tar.TypeLink:
		p.files[name] = p.files[merged(path.Clean(header.Linkname))]
	}
	return nil
}

// moved are the folders that are links into usr on every Debian of today, while some packages still name
// them.
var moved = []string{"bin", "lib", "lib64", "sbin"}

func merged(name string) string {
	name = strings.TrimPrefix(name, "/")
	if top, _, _ := strings.Cut(name, "/"); slices.Contains(moved, top) {
		return "usr/" + name
	}
	return name
}

// closure returns the programs, what they need to run, and the licences of it all.
func (p packages) closure(programs ...string) (oci.Tree, error) {
	out := oci.Tree{}
	for _, dir := range moved {
		out[dir] = oci.Entry{Mode: fs.ModeSymlink | 0o777, Target: "usr/" + dir}
		out["usr/"+dir] = oci.Entry{Mode: fs.ModeDir | 0o755}
	}
	for _, program := range programs {
		if err := p.add(out, program); err != nil {
			return nil, err
		}
	}
	for name, e := range p.files {
		if strings.HasPrefix(name, "usr/share/doc/") && path.Base(name) == "copyright" {
			out[name] = e
		}
	}
	return out, nil
}

// add takes a file, what its links lead to, and what it needs.
func (p packages) add(out oci.Tree, name string) error {
	if _, has := out[name]; has {
		return nil
	}
	e, is := p.files[name]
	if !is {
		return fmt.Errorf("no package has %s", name)
	}
	out[name] = e
	if e.Target != "" {
		target := e.Target
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(name), target)
		}
		return p.add(out, merged(target))
	}
	needs, err := p.needs(e.Content)
	if err != nil {
		return fmt.Errorf("look for what %s needs: %w", name, err)
	}
	for _, need := range needs {
		if err := p.add(out, need); err != nil {
			return err
		}
	}
	return nil
}

// needs returns the paths of an ELF file's interpreter and libraries.
func (p packages) needs(content []byte) ([]string, error) {
	file, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	var paths []string
	if interp := file.Section(".interp"); interp != nil {
		name, err := interp.Data()
		if err != nil {
			return nil, err
		}
		paths = append(paths, merged(strings.TrimRight(string(name), "\x00")))
	}
	libraries, err := file.ImportedLibraries()
	if err != nil {
		return nil, err
	}
	for _, library := range libraries {
		found, err := p.find(library)
		if err != nil {
			return nil, err
		}
		paths = append(paths, found)
	}
	return paths, nil
}

// find looks for a library where the loader does.
func (p packages) find(library string) (string, error) {
	for _, name := range slices.Sorted(maps.Keys(p.files)) {
		if ok, _ := path.Match("usr/lib*/*/"+library, name); ok {
			return name, nil
		}
		if ok, _ := path.Match("usr/lib*/"+library, name); ok {
			return name, nil
		}
	}
	return "", fmt.Errorf("no package has library %s", library)
}
