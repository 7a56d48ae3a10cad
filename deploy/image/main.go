// SPDX-License-Identifier: Apache-2.0

// Command image packs flock's programs, and BIRD from Debian's packages, into two OCI image archives:
// what the Dockerfile builds, for machines without a Docker engine. The same programs and packages give the
// same digests.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"runtime"

	"flock.fritzlab.net/flock/deploy/image/oci"
)

// programs is the order in which "make build" names them.
var programs = []string{"flock-ipam", "ipamd", "flock-veth", "flock-route", "flock-bird", "birdd", "flock-installer"}

// extensions are where the daemons look for them.
var extensions = []string{"speaker-gobgp", "allocator-sticky"}

const (
	// binDir is on the PATH of every runtime.
	binDir       = "usr/local/bin/"
	extensionDir = "usr/libexec/flock/"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("image: ")
	bin := flag.String("bin", "bin", "folder with flock's static programs")
	out := flag.String("out", "bin/image", "folder for the archives")
	tag := flag.String("tag", "dev", "tag of the images")
	flag.Parse()
	if err := run(*bin, *out, *tag); err != nil {
		log.Fatal(err)
	}
}

func run(bin, out, tag string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	flock, err := flockImage(bin, tag)
	if err != nil {
		return err
	}
	bird, err := birdImage(bin, tag)
	if err != nil {
		return err
	}
	for _, img := range []struct {
		file string
		oci.Image
	}{{"flock.tar", flock}, {"bird.tar", bird}} {
		file := filepath.Join(out, img.file)
		digest, err := img.Write(file)
		if err != nil {
			return fmt.Errorf("write image %s: %w", img.Name, err)
		}
		fmt.Println(file, img.Name, digest)
	}
	return nil
}

// flockImage is flock's programs and extensions, and nothing else.
func flockImage(bin, tag string) (oci.Image, error) {
	files := oci.Tree{}
	for _, part := range []struct {
		dir   string
		names []string
	}{{binDir, programs}, {extensionDir, extensions}} {
		for _, name := range part.names {
			if err := files.Copy(part.dir+name, filepath.Join(bin, name)); err != nil {
				return oci.Image{}, err
			}
		}
	}
	// Runtimes tell of network namespaces in /var/run, and the node has them in /run.
	files["run"] = oci.Entry{Mode: os.ModeDir | 0o755}
	files["var/run"] = oci.Entry{Mode: os.ModeSymlink | 0o777, Target: "../run"}
	return oci.Image{
		Name: "localhost/flock/flock:" + tag, Arch: runtime.GOARCH, Files: files,
		Command:     []string{"flock-installer", "--help"},
		Annotations: map[string]string{"org.opencontainers.image.title": "flock", "org.opencontainers.image.licenses": "Apache-2.0"},
	}, nil
}

// birdImage is BIRD with the libraries that it loads, and birdd, which starts and stops it.
func birdImage(bin, tag string) (oci.Image, error) {
	debian, err := download(birdPackages)
	if err != nil {
		return oci.Image{}, err
	}
	files, err := debian.closure("usr/sbin/bird", "usr/sbin/birdc", "usr/sbin/birdcl")
	if err != nil {
		return oci.Image{}, err
	}
	if err := files.Copy(binDir+"birdd", filepath.Join(bin, "birdd")); err != nil {
		return oci.Image{}, err
	}
	return oci.Image{
		Name: "localhost/flock/bird:" + tag, Arch: runtime.GOARCH, Files: files,
		Command: []string{"birdd", "bird", "--help"},
		Annotations: map[string]string{
			"org.opencontainers.image.title":    "BIRD for flock",
			"org.opencontainers.image.licenses": "GPL-2.0-or-later AND Apache-2.0",
			"org.debian.packages":               debian.versions,
		},
	}, nil
}
