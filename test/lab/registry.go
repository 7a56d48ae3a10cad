// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// registry knows the process's open labs, for the signal that ends the process.
type registry struct {
	mu   sync.Mutex
	open []*Lab
}

var labs registry

func (r *registry) add(l *Lab) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = append(r.open, l)
}

func (r *registry) remove(l *Lab) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = slices.DeleteFunc(r.open, func(other *Lab) bool { return other == l })
}

func (r *registry) all() []*Lab {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.open)
}

// CloseOnSignal closes every open lab when the process is interrupted or told to end, and then exits
// with the code that shells give such an end.
func CloseOnSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM)
	go func() {
		sig := <-signals
		fmt.Fprintf(os.Stderr, "\n%s: tearing the lab down\n", sig)
		for _, l := range labs.all() {
			if err := l.Close(); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
		os.Exit(128 + int(sig.(unix.Signal)))
	}()
}

// UniqueName returns "kind-pid-count", a name for a lab that no other has. [Sweep] understands it.
func UniqueName(kind string) string {
	names.Lock()
	defer names.Unlock()
	names.count++
	return fmt.Sprintf("%s-%d-%d", kind, os.Getpid(), names.count)
}

var names struct {
	sync.Mutex
	count int
}

// Sweep deletes the namespaces and folders of labs of the kind whose process has gone without closing
// them, killed for example, and returns their names.
func Sweep(kind string) ([]string, error) {
	names, err := Namespaces(kind + "-")
	if err != nil {
		return nil, err
	}
	folders, err := filepath.Glob(filepath.Join(os.TempDir(), kind+"-*"))
	if err != nil {
		return nil, fmt.Errorf("list the folders of labs: %w", err)
	}
	var swept []string
	for _, name := range slices.DeleteFunc(names, func(name string) bool { return !orphan(kind, name) }) {
		if err := (&Netns{Name: name}).Delete(); err != nil {
			return swept, err
		}
		swept = append(swept, name)
	}
	for _, dir := range slices.DeleteFunc(folders, func(dir string) bool { return !orphan(kind, filepath.Base(dir)) }) {
		if err := os.RemoveAll(dir); err != nil {
			return swept, fmt.Errorf("remove the folder of a lab: %w", err)
		}
		swept = append(swept, dir)
	}
	return swept, nil
}

// orphan tells whether the process that a lab's name holds is gone.
func orphan(kind, name string) bool {
	pid, _, _ := strings.Cut(strings.TrimPrefix(name, kind+"-"), "-")
	n, err := strconv.Atoi(pid)
	return err == nil && unix.Kill(n, 0) == unix.ESRCH
}
