// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"fmt"
	"time"

	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/nodejson"
)

// situation is what is known where there is no NodeConfig to go by.
type situation struct {
	node string
	// synced: the API server has told that there is none.
	synced bool
	// waited: the time is over in which one may be expected; it was wait.
	waited bool
	wait   time.Duration
	// podCIDRs may serve instead of a NodeConfig.
	podCIDRs bool
	// file is whose word node.json is.
	file nodejson.Origin
}

// fallsBack tells whether to go by the Node's podCIDRs: not in the place of what a NodeConfig or a person
// said, and where nothing was said yet only when no NodeConfig has come.
func (s situation) fallsBack() bool {
	return s.synced && s.podCIDRs && (s.file == nodejson.PodCIDRs || s.file == nodejson.Absent && s.waited)
}

// problem returns what is wrong where node.json stays as it is.
func (s situation) problem() error {
	stays := "the last node.json stays in force"
	if s.file == nodejson.Absent {
		stays = "there is no node.json, and pods get no address"
	}
	switch {
	case !s.synced && !s.waited:
		return fmt.Errorf("waiting up to %s for the API server to tell of NodeConfig %s; %s", s.wait, s.node, stays)
	case !s.synced:
		return fmt.Errorf("the API server has not told of NodeConfig %s in %s; %s", s.node, s.wait, stays)
	case !s.waited:
		return fmt.Errorf("waiting up to %s for NodeConfig %s, which does not exist; %s", s.wait, s.node, stays)
	}
	return fmt.Errorf("NodeConfig %s does not exist: create it; %s", s.node, stays)
}
