// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/gentype"
	"k8s.io/client-go/rest"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/internal/kube"
)

// cluster is what the allocator needs of the API server. Every read is the server's latest state.
type cluster struct {
	addresses *gentype.ClientWithList[*v1alpha1.StickyAddress, *v1alpha1.StickyAddressList]
	nodes     *gentype.Client[*corev1.Node]
	sets      func(namespace string) *gentype.Client[*appsv1.StatefulSet]
}

// newCluster returns the cluster that the config has access to.
func newCluster(config *rest.Config) (cluster, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return cluster{}, err
		}
	}
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	codecs, params := serializer.NewCodecFactory(scheme).WithoutConversion(), runtime.NewParameterCodec(scheme)
	core, err := kube.RESTClient(config, "/api", corev1.SchemeGroupVersion, codecs, runtime.ContentTypeProtobuf)
	if err != nil {
		return cluster{}, err
	}
	apps, err := kube.RESTClient(config, "/apis", appsv1.SchemeGroupVersion, codecs, runtime.ContentTypeProtobuf)
	if err != nil {
		return cluster{}, err
	}
	own, err := kube.RESTClient(config, "/apis", v1alpha1.GroupVersion, codecs, runtime.ContentTypeJSON)
	if err != nil {
		return cluster{}, err
	}
	return cluster{
		addresses: gentype.NewClientWithList(v1alpha1.StickyResource, own, params, "",
			func() *v1alpha1.StickyAddress { return new(v1alpha1.StickyAddress) },
			func() *v1alpha1.StickyAddressList { return new(v1alpha1.StickyAddressList) }),
		nodes: gentype.NewClient("nodes", core, params, "", func() *corev1.Node { return new(corev1.Node) }),
		sets: func(namespace string) *gentype.Client[*appsv1.StatefulSet] {
			return gentype.NewClient("statefulsets", apps, params, namespace, func() *appsv1.StatefulSet { return new(appsv1.StatefulSet) })
		},
	}, nil
}

// list returns the addresses of which the fields have the values.
func (c cluster) list(ctx context.Context, where fields.Set) (*v1alpha1.StickyAddressList, error) {
	list, err := c.addresses.List(ctx, metav1.ListOptions{FieldSelector: where.AsSelector().String()})
	if err != nil {
		return nil, fmt.Errorf("list StickyAddresses: %w", err)
	}
	return list, nil
}

// page is how many objects are held in memory to look at all.
const page = 500

// each calls look with every address.
func (c cluster) each(ctx context.Context, look func(*v1alpha1.StickyAddress) error) error {
	options := metav1.ListOptions{Limit: page}
	for {
		list, err := c.addresses.List(ctx, options)
		if err != nil {
			return fmt.Errorf("list StickyAddresses: %w", err)
		}
		for i := range list.Items {
			if err := look(&list.Items[i]); err != nil {
				return err
			}
		}
		if options.Continue = list.Continue; options.Continue == "" {
			return nil
		}
	}
}

// get returns the object, nil if there is none.
func (c cluster) get(ctx context.Context, name string) (*v1alpha1.StickyAddress, error) {
	o, err := c.addresses.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get StickyAddress %s: %w", name, err)
	}
	return o, nil
}

// patience bounds a write, which goes on when the caller has given up: what came of it would be unknown.
const patience = 5 * time.Second

func writing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), patience)
}

// outcome returns errAgain if the object is not as it was when it was read.
func outcome(verb string, o *v1alpha1.StickyAddress, err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsConflict(err), apierrors.IsNotFound(err), apierrors.IsAlreadyExists(err):
		return errAgain
	}
	return fmt.Errorf("%s StickyAddress %s: %w", verb, o.Name, err)
}

// add, update and remove return errAgain if the object, read before, has changed since or is gone, or, for add, is there.
func (c cluster) add(ctx context.Context, o *v1alpha1.StickyAddress) error {
	ctx, cancel := writing(ctx)
	defer cancel()
	_, err := c.addresses.Create(ctx, o, metav1.CreateOptions{})
	return outcome("create", o, err)
}

func (c cluster) update(ctx context.Context, o *v1alpha1.StickyAddress) error {
	ctx, cancel := writing(ctx)
	defer cancel()
	_, err := c.addresses.Update(ctx, o, metav1.UpdateOptions{})
	return outcome("update", o, err)
}

func (c cluster) remove(ctx context.Context, o *v1alpha1.StickyAddress) error {
	ctx, cancel := writing(ctx)
	defer cancel()
	err := c.addresses.Delete(ctx, o.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &o.UID, ResourceVersion: &o.ResourceVersion},
	})
	return outcome("delete", o, err)
}

// deletable tells whether the API server would delete the object, and does not delete it.
func (c cluster) deletable(ctx context.Context, name string) (bool, error) {
	err := c.addresses.Delete(ctx, name, metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}})
	switch {
	case err == nil:
		return true, nil
	case apierrors.IsInvalid(err): // a policy denies it
		return false, nil
	}
	return false, fmt.Errorf("try to delete StickyAddress %s: %w", name, err)
}

// changed returns when the object has changed since the version, or the context ends.
func (c cluster) changed(ctx context.Context, name, version string) {
	w, err := c.addresses.Watch(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String(), ResourceVersion: version,
	})
	if err == nil {
		defer w.Stop()
		if event, ok := <-w.ResultChan(); ok && event.Type != watch.Error {
			return
		}
	}
	<-ctx.Done()
}

// node returns the Node. The error of one that is not there is the API server's.
func (c cluster) node(ctx context.Context, name string) (*corev1.Node, error) {
	node, err := c.nodes.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get node %s: %w", name, err)
	}
	return node, nil
}

// ordinals returns what tells which pods a StatefulSet wants: none, if there is no such set.
func (c cluster) ordinals(ctx context.Context, set v1alpha1.StickyOwner) (func(int32) bool, error) {
	s, err := c.sets(set.Namespace).Get(ctx, set.StatefulSet, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return func(int32) bool { return false }, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get StatefulSet %s/%s: %w", set.Namespace, set.StatefulSet, err)
	}
	start, replicas := int32(0), int32(1)
	if s.Spec.Ordinals != nil {
		start = s.Spec.Ordinals.Start
	}
	if s.Spec.Replicas != nil {
		replicas = *s.Spec.Replicas
	}
	return func(ordinal int32) bool { return ordinal >= start && ordinal-start < replicas }, nil
}
