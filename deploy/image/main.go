// SPDX-License-Identifier: Apache-2.0

// Command image packs flock's programs, and BIRD from Debian's packages, into two OCI image archives:
// what the Dockerfile builds, for machines without a Docker engine. The same programs and packages give the
// same digests.
//
// An OCI archive is three JSON documents and a tar in a tar, which is less to read than the interface of a
// library that writes them.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"runtime"
)

// programs is the order in which "make build" names them.
var programs = []string{"flock-ipam", "ipamd", "flock-veth", "flock-route", "flock-bird", "birdd", "flock-installer"}

// binDir is on the PATH of every runtime.
const binDir = "usr/local/bin/"

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
	for _, img := range []image{flock, bird} {
		file := filepath.Join(out, img.short+".tar")
		digest, err := img.write(file)
		if err != nil {
			return fmt.Errorf("write image %s: %w", img.name, err)
		}
		fmt.Println(file, img.name, digest)
	}
	return nil
}

// flockImage is flock's programs and nothing else.
func flockImage(bin, tag string) (image, error) {
	files := tree{}
	for _, name := range programs {
		if err := files.copy(binDir+name, filepath.Join(bin, name)); err != nil {
			return image{}, err
		}
	}
	// Runtimes tell of network namespaces in /var/run, and the node has them in /run.
	files["run"] = entry{mode: os.ModeDir | 0o755}
	files["var/run"] = entry{mode: os.ModeSymlink | 0o777, target: "../run"}
	return image{
		short: "flock", name: "localhost/flock/flock:" + tag, arch: runtime.GOARCH, files: files,
		command:     []string{"flock-installer", "--help"},
		annotations: map[string]string{"org.opencontainers.image.title": "flock", "org.opencontainers.image.licenses": "Apache-2.0"},
	}, nil
}

// birdImage is BIRD with the libraries that it loads, and birdd, which starts and stops it.
func birdImage(bin, tag string) (image, error) {
	debian, err := download(birdPackages)
	if err != nil {
		return image{}, err
	}
	files, err := debian.closure("usr/sbin/bird", "usr/sbin/birdc", "usr/sbin/birdcl")
	if err != nil {
		return image{}, err
	}
	if err := files.copy(binDir+"birdd", filepath.Join(bin, "birdd")); err != nil {
		return image{}, err
	}
	return image{
		short: "bird", name: "localhost/flock/bird:" + tag, arch: runtime.GOARCH, files: files,
		command: []string{"birdd", "bird", "--help"},
		annotations: map[string]string{
			"org.opencontainers.image.title":    "BIRD for flock",
			"org.opencontainers.image.licenses": "GPL-2.0-or-later AND Apache-2.0",
			"org.debian.packages":               debian.versions,
		},
	}, nil
}
