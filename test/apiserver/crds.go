// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"flock.fritzlab.net/flock/test/build"
)

// CRDs applies the CustomResourceDefinitions of deploy/base and waits until the server serves them.
func (s *Server) CRDs(t testing.TB) {
	t.Helper()
	s.crds.Do(func() {
		args := []string{"apply", "--server-side"}
		for _, file := range crdFiles(t) {
			args = append(args, "-f", file)
		}
		s.Kubectl(t, args...)
		s.Kubectl(t, "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
	})
}

func crdFiles(t testing.TB) []string {
	t.Helper()
	root, err := build.Root()
	check(t, err)
	var files []string
	check(t, filepath.WalkDir(filepath.Join(root, "deploy", "base"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if strings.Contains(string(content), "\nkind: CustomResourceDefinition\n") {
			files = append(files, path)
		}
		return err
	}))
	if len(files) == 0 {
		t.Fatal("deploy/base has no CustomResourceDefinition")
	}
	return files
}
