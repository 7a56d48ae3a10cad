// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/internal/filewatch"
)

// File is the source where there is no Kubernetes.
type File struct {
	path    string
	watcher *filewatch.Watcher
}

// Open begins to watch the file's folder, which must exist; the file need not.
func Open(path string) (*File, error) {
	watcher, err := filewatch.Watch(path)
	if err != nil {
		return nil, err
	}
	return &File{path, watcher}, nil
}

// Read reads the file, see [Source].
func (f *File) Read() (*v1alpha1.Config, error) { return Read(f.path) }

// Run tells of changes in the file's folder, see [Source].
func (f *File) Run(ctx context.Context, changed func()) error { return f.watcher.Run(ctx, changed) }

// Read returns the NodeConfig of a file, with the errors of [Source].
func Read(path string) (*v1alpha1.Config, error) {
	nodeConfig, err := v1alpha1.Load(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, because(ErrAbsent, err)
	case err != nil:
		return nil, because(ErrInvalid, err)
	}
	config, err := parse(nodeConfig)
	if err != nil {
		return nil, fmt.Errorf("check NodeConfig %s: %w", path, err)
	}
	return config, nil
}
