// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"fmt"

	"k8s.io/client-go/tools/cache"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/internal/kube"
)

// Object is the source where there is Kubernetes: the NodeConfig that is named as the node.
type Object struct {
	node     string
	informer cache.SharedIndexInformer
	report   func(error)
}

// NewObject returns a source that knows nothing before [Object.Run]. report is told how its watch begins, see
// [kube.Watch].
func NewObject(client *kube.Client, node string, report func(error)) *Object {
	return &Object{node, client.NodeConfigInformer(node), report}
}

// Get returns the NodeConfig as the API server has it, its status too, and nil where there is none or
// nothing is known. It is not to be changed.
func (o *Object) Get() *v1alpha1.NodeConfig {
	object, found, err := o.informer.GetStore().GetByKey(o.node)
	if err != nil || !found {
		return nil
	}
	return object.(*v1alpha1.NodeConfig)
}

// Read returns what the NodeConfig means, see [Source].
func (o *Object) Read() (*v1alpha1.Config, error) {
	nodeConfig := o.Get()
	switch {
	case nodeConfig == nil && !o.informer.HasSynced():
		return nil, fmt.Errorf("read NodeConfig %s: %w", o.node, ErrUnanswered)
	case nodeConfig == nil:
		return nil, because(ErrAbsent, fmt.Errorf("read NodeConfig %s: there is none of that name", o.node))
	}
	config, err := parse(nodeConfig)
	if err != nil {
		return nil, fmt.Errorf("check NodeConfig %s: %w", o.node, err)
	}
	return config, nil
}

// Run watches the NodeConfig, see [Source].
func (o *Object) Run(ctx context.Context, changed func()) error {
	_, err := o.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { changed() },
		UpdateFunc: func(before, after any) {
			if identity(before) != identity(after) {
				changed()
			}
		},
		DeleteFunc: func(any) { changed() },
	})
	if err != nil {
		return fmt.Errorf("watch NodeConfig %s: %w", o.node, err)
	}
	kube.Watch(ctx, o.informer, o.informer.HasSynced, func(err error) {
		o.report(err)
		changed() // that there is none is told by no event
	})
	return nil
}

// identity tells two specs of a NodeConfig apart; its status may change meanwhile.
func identity(object any) string {
	c := object.(*v1alpha1.NodeConfig)
	return fmt.Sprintf("%s/%d", c.UID, c.Generation)
}
