// SPDX-License-Identifier: Apache-2.0

package allocators

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"

	"flock.fritzlab.net/flock/plugins/cni"
)

// roster is a file with the names of the extensions that may have given something, and with the attachments of each that
// were in the store. By it an ipamd that is started takes back at once what was freed while none ran. As the store it is
// gone after a reboot, and what was given before is not: so there are the names in a file that stays, too.
type roster struct {
	path, lasting string

	mu    sync.Mutex
	known map[string][]entry
	kept  []string // the names in the lasting file
}

// entry is an attachment that was in the store.
type entry struct {
	cni.Attachment
	// Addresses are what the allocator gave to it: where the kernel routes to one of them, it is there still.
	Addresses []netip.Addr `json:"addresses,omitempty"`
	// Netns is where it is, if no route of the host's tells.
	Netns string `json:"netns,omitempty"`
}

// openRoster reads the files, which need not be there; the lasting one need not have a path. With an error the roster is
// of use, and has what could be read.
func openRoster(path, lasting string) (*roster, error) {
	r := &roster{path: path, lasting: lasting, known: map[string][]entry{}}
	err := errors.Join(load(path, &r.known), load(lasting, &r.kept))
	if r.known == nil {
		r.known = map[string][]entry{}
	}
	for _, name := range r.kept {
		if r.known[name] == nil {
			r.known[name] = []entry{}
		}
	}
	return r, err
}

// load reads a file into v, which is nothing afterwards if the file is damaged.
func load[T any](path string, v *T) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(raw, v)
	}
	if err != nil {
		*v = *new(T)
		return fmt.Errorf("read which allocators have given something: %s: %w", path, err)
	}
	return nil
}

// names returns the extensions, in order.
func (r *roster) names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.known))
}

// of returns the extension's attachments.
func (r *roster) of(name string) []entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[name]
}

// set notes an extension's attachments, as they are when nobody else notes any.
func (r *roster) set(name string, seen func() []entry) error {
	return r.change(func(known map[string][]entry) { known[name] = seen() })
}

// keep leaves the extensions of these names.
func (r *roster) keep(names []string) error {
	return r.change(func(known map[string][]entry) {
		maps.DeleteFunc(known, func(name string, _ []entry) bool { return !slices.Contains(names, name) })
		for _, name := range names {
			if known[name] == nil {
				known[name] = []entry{}
			}
		}
	})
}

// change changes the files and then what is known.
func (r *roster) change(do func(map[string][]entry)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := maps.Clone(r.known)
	do(known)
	err := r.last(slices.Sorted(maps.Keys(known)))
	if err == nil && !reflect.DeepEqual(known, r.known) {
		err = save(r.path, known)
	}
	if err != nil {
		return fmt.Errorf("write which allocators have given something: %w", err)
	}
	r.known = known
	return nil
}

// last writes the names, if others are known now.
func (r *roster) last(names []string) error {
	if r.lasting == "" || slices.Equal(names, r.kept) {
		return nil
	}
	err := os.MkdirAll(filepath.Dir(r.lasting), 0o755)
	if err == nil {
		err = save(r.lasting, append([]string{}, names...))
	}
	if err == nil {
		r.kept = names
	}
	return err
}

// save writes a file that is whole after a crash too.
func save(path string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(raw)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
