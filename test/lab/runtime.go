// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
)

// annotationsCapability is how containerd and CRI-O hand a pod's annotations to plugins.
const annotationsCapability = "io.kubernetes.cri.pod-annotations"

// Runtime runs one network's plugins as a container runtime does: through libcni, as processes of a
// host's network namespace.
type Runtime struct {
	Host *Netns
	conf *libcni.NetworkConfigList
	cni  *libcni.CNIConfig
}

// NewRuntime returns a runtime on the host for a conflist, with the folders that hold the plugins and
// the one that libcni keeps its results in.
func NewRuntime(host *Netns, conflist []byte, plugins []string, cache string) (*Runtime, error) {
	conf, err := libcni.NetworkConfFromBytes(conflist)
	if err != nil {
		return nil, fmt.Errorf("read the conflist: %w", err)
	}
	return &Runtime{Host: host, conf: conf, cni: libcni.NewCNIConfigWithCacheDir(plugins, cache, nil)}, nil
}

// args are what libcni gives the plugins about the pod.
func (r *Runtime) args(p *Pod) *libcni.RuntimeConf {
	rt := &libcni.RuntimeConf{ContainerID: p.ContainerID, NetNS: p.Path(), IfName: "eth0", CapabilityArgs: map[string]any{}}
	if p.Annotations != nil {
		rt.CapabilityArgs[annotationsCapability] = maps.Clone(p.Annotations)
	}
	if p.Pod.Name != "" {
		rt.Args = [][2]string{
			{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", p.Pod.Namespace}, {"K8S_POD_NAME", p.Pod.Name},
			{"K8S_POD_INFRA_CONTAINER_ID", p.ContainerID}, {"K8S_POD_UID", p.Pod.UID},
		}
	}
	return rt
}

// Add attaches the pod and remembers the chain's result in it.
func (r *Runtime) Add(ctx context.Context, p *Pod) error {
	return r.do("ADD", p, func() error {
		result, err := r.cni.AddNetworkList(ctx, r.conf, r.args(p))
		if err != nil {
			return err
		}
		p.Result, err = current.NewResultFromResult(result)
		return err
	})
}

// Del detaches the pod.
func (r *Runtime) Del(ctx context.Context, p *Pod) error {
	return r.do("DEL", p, func() error { return r.cni.DelNetworkList(ctx, r.conf, r.args(p)) })
}

// Check runs CHECK for the pod.
func (r *Runtime) Check(ctx context.Context, p *Pod) error {
	return r.do("CHECK", p, func() error { return r.cni.CheckNetworkList(ctx, r.conf, r.args(p)) })
}

// GC tells the plugins that the pods are all there are on the network.
func (r *Runtime) GC(ctx context.Context, valid ...*Pod) error {
	args := &libcni.GCArgs{ValidAttachments: []types.GCAttachment{}}
	for _, p := range valid {
		args.ValidAttachments = append(args.ValidAttachments, types.GCAttachment{ContainerID: p.ContainerID, IfName: "eth0"})
	}
	return r.do("GC", nil, func() error { return r.cni.GCNetworkList(ctx, r.conf, args) })
}

// Status asks the plugins whether they are ready for an ADD.
func (r *Runtime) Status(ctx context.Context) error {
	return r.do("STATUS", nil, func() error { return r.cni.GetStatusNetworkList(ctx, r.conf) })
}

// do keeps the CNI error inside what it returns: [Code] finds it.
func (r *Runtime) do(verb string, p *Pod, fn func() error) error {
	name := r.Host.Name
	if p != nil {
		name = p.Name
	}
	if err := r.Host.Do(fn); err != nil {
		return fmt.Errorf("%s %s: %w", verb, name, err)
	}
	return nil
}

// Code returns the code of the CNI error that err holds, 0 where it holds none.
func Code(err error) uint {
	if coded := (*types.Error)(nil); errors.As(err, &coded) {
		return coded.Code
	}
	return 0
}
