// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"net/http"
	"sync"

	"flock.fritzlab.net/flock/test/cluster/flow"
)

// flows are what the pod was told to send.
type flows struct {
	mu      sync.Mutex
	running []*flow.Flow
}

// start starts a flow to the address of the query.
func (f *flows) start(w http.ResponseWriter, r *http.Request) {
	started, err := flow.Start(r.FormValue("to"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running = append(f.running, started)
}

// stop stops all flows and answers with their counts.
func (f *flows) stop(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := make([]flow.Count, len(f.running))
	var wait sync.WaitGroup
	for i, running := range f.running {
		wait.Go(func() { counts[i] = running.Stop() })
	}
	wait.Wait()
	f.running = nil
	json.NewEncoder(w).Encode(counts)
}
