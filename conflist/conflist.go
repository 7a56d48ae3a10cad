// SPDX-License-Identifier: Apache-2.0

// Package conflist makes the network configuration list that the container runtime reads: typed
// options in, the JSON of CNI specification section 1 out.
package conflist

import (
	"encoding/json"
	"fmt"

	"flock.fritzlab.net/flock/internal/pool"
)

const (
	// Name is the network's name. It never changes: containerd's DEL uses the conflist of the day, not
	// that of the ADD, and finds by this name what the ADD left.
	Name = "flock"
	// FileName sorts before the files of other networks, so that the runtime takes it.
	FileName = "01-flock.conflist"
)

// Stages are flock's plugins in the order of their chain.
var Stages = []string{"flock-ipam", "flock-veth", "flock-route", "flock-bird"}

// Options say what the list holds. The zero value is the whole chain with every default, and a key
// that is left zero is left out, so that the stage's own default holds.
type Options struct {
	// Stages are the plugins of the chain, all of [Stages] when empty.
	Stages []string
	// StateDir is where every stage keeps its state.
	StateDir string
	IPAM     IPAM
	Veth     Veth
	Route    Route
	Bird     Bird
	// Chained follow flock's stages: names of reference plugins, as in [Chainable], or whole plugin
	// configurations as JSON objects.
	Chained []string
}

// IPAM configures flock-ipam.
type IPAM struct {
	// Pools win over those of NodeFile.
	Pools    []pool.Spec `json:"pools,omitempty"`
	NodeFile string      `json:"nodeFile,omitempty"`
	Socket   string      `json:"socket,omitempty"`
	// CoolDown is a Go duration, "120s".
	CoolDown string `json:"coolDown,omitempty"`
	// IPAlgo lists the fields of the pod's identity to embed; none makes addresses random.
	IPAlgo []string `json:"ipAlgo,omitempty"`
}

// Veth configures flock-veth.
type Veth struct {
	// MTU is in bytes; 0 takes that of NodeFile, or else of the node's default route.
	MTU      int    `json:"mtu,omitempty"`
	NodeFile string `json:"nodeFile,omitempty"`
}

// Route configures flock-route.
type Route struct {
	Metric int `json:"metric,omitempty"`
}

// Bird configures flock-bird.
type Bird struct {
	// Table is the routing table that BIRD reads.
	Table int `json:"table,omitempty"`
	// Anycast is "ready" (birdd announces while the pod is Ready) or "immediate" (at ADD).
	Anycast string `json:"anycast,omitempty"`
}

// List is a network configuration list.
type List struct {
	// CNIVersion is for runtimes that know nothing of CNIVersions, which has the version that STATUS
	// and GC need.
	CNIVersion             string            `json:"cniVersion"`
	CNIVersions            []string          `json:"cniVersions"`
	Name                   string            `json:"name"`
	LoadOnlyInlinedPlugins bool              `json:"loadOnlyInlinedPlugins"`
	Plugins                []json.RawMessage `json:"plugins"`
}

// New returns the list that the options ask for. Options that would give a chain that cannot work are
// an error that names them.
func New(o Options) (List, error) {
	if len(o.Stages) == 0 {
		o.Stages = Stages
	}
	if err := o.check(); err != nil {
		return List{}, fmt.Errorf("make the conflist: %w", err)
	}
	list := List{
		CNIVersion:             "1.0.0",
		CNIVersions:            []string{"1.0.0", "1.1.0"},
		Name:                   Name,
		LoadOnlyInlinedPlugins: true,
	}
	for _, stage := range o.Stages {
		plugin, err := json.Marshal(o.stage(stage))
		if err != nil {
			return List{}, fmt.Errorf("make the conflist: %w", err)
		}
		list.Plugins = append(list.Plugins, plugin)
	}
	for _, name := range o.Chained {
		plugin, err := chained(name)
		if err != nil {
			return List{}, fmt.Errorf("make the conflist: %w", err)
		}
		list.Plugins = append(list.Plugins, plugin)
	}
	return list, nil
}

// JSON returns the list as it stands in the file, indented and with a final newline.
func (l List) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the conflist: %w", err)
	}
	return append(text, '\n'), nil
}

// stageConf is what every stage has; the embedded part is the stage's own.
type stageConf struct {
	Type         string          `json:"type"`
	Capabilities map[string]bool `json:"capabilities,omitempty"`
	StateDir     string          `json:"stateDir,omitempty"`
}

func (o Options) stage(name string) any {
	common := stageConf{Type: name, StateDir: o.StateDir}
	switch name {
	case "flock-ipam":
		common.Capabilities = map[string]bool{"io.kubernetes.cri.pod-annotations": true, "ips": true}
		return struct {
			stageConf
			IPAM
		}{common, o.IPAM}
	case "flock-veth":
		return struct {
			stageConf
			Veth
		}{common, o.Veth}
	case "flock-route":
		return struct {
			stageConf
			Route
		}{common, o.Route}
	default:
		return struct {
			stageConf
			Bird
		}{common, o.Bird}
	}
}
