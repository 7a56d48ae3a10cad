// SPDX-License-Identifier: Apache-2.0

// Command lint checks the habits of this repository that neither go vet nor staticcheck knows: run it
// in the repository's root. It prints a line for each breach and exits 1 if there is one.
package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	breaches, err := lint(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, "lint:", err)
		os.Exit(2)
	}
	for _, breach := range breaches {
		fmt.Println(breach)
	}
	if len(breaches) > 0 {
		os.Exit(1)
	}
}

// lint returns the breaches in the files below root, "path:line: what".
func lint(root string) ([]string, error) {
	var breaches []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel == "bin" || rel == ".git" {
				return filepath.SkipDir
			}
			return nil
		}
		found, err := lintFile(root, rel)
		breaches = append(breaches, found...)
		return err
	})
	slices.Sort(breaches)
	return breaches, err
}

func lintFile(root, rel string) ([]string, error) {
	kind := filepath.Ext(rel)
	if kind != ".go" && kind != ".md" {
		return nil, nil
	}
	content, err := os.ReadFile(filepath.Join(root, rel))
	if err != nil {
		return nil, err
	}
	if kind == ".md" {
		return lintLinks(root, rel, string(content)), nil
	}
	if strings.HasPrefix(filepath.Base(rel), "zz_generated") || strings.HasSuffix(rel, ".pb.go") {
		return nil, nil
	}
	return lintGo(rel, content)
}
