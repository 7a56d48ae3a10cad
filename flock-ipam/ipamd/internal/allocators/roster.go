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
	"reflect"
	"slices"
	"sync"

	"flock.fritzlab.net/flock/plugins/cni"
)

// roster is a file with the names of the extensions that may have given something, and with the attachments of each that
// were in the store. By it an ipamd that is started takes back at once what was freed while none ran. As the store it is
// gone after a reboot.
type roster struct {
	path string

	mu    sync.Mutex
	known map[string][]entry
}

// entry is an attachment that was in the store.
type entry struct {
	cni.Attachment
	// Addresses are what the allocator gave to it: where the kernel routes to one of them, it is there still.
	Addresses []netip.Addr `json:"addresses,omitempty"`
	// Netns is where it is, if no route of the host's tells.
	Netns string `json:"netns,omitempty"`
}

// openRoster reads the file, which need not be there. With an error the roster is empty, and of use.
func openRoster(path string) (*roster, error) {
	r := &roster{path: path, known: map[string][]entry{}}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &r.known)
	}
	if err != nil {
		r.known = map[string][]entry{}
		return r, fmt.Errorf("read which allocators have given something: %s: %w", path, err)
	}
	return r, nil
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

// set notes an extension's attachments.
func (r *roster) set(name string, seen []entry) error {
	return r.change(func(known map[string][]entry) { known[name] = seen })
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

// change changes the file and then what is known.
func (r *roster) change(do func(map[string][]entry)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := maps.Clone(r.known)
	if do(known); reflect.DeepEqual(known, r.known) {
		return nil
	}
	raw, err := json.Marshal(known)
	if err == nil {
		err = os.WriteFile(r.path+".new", raw, 0o600)
	}
	if err == nil {
		err = os.Rename(r.path+".new", r.path)
	}
	if err != nil {
		return fmt.Errorf("write which allocators have given something: %w", err)
	}
	r.known = known
	return nil
}
