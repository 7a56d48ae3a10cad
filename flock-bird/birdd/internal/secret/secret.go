// SPDX-License-Identifier: Apache-2.0

// Package secret reads the passwords of BGP sessions from Secrets, and follows each Secret that a peer names by a
// watch of its own.
package secret

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/password"
	"flock.fritzlab.net/flock/internal/kube"
	"flock.fritzlab.net/flock/plugins/speaker"
)

// How long a Secret may stay unread: firstAnswer holds a configuration back for a Secret that was named a
// moment ago; after forbiddenFor the API server means it, and is not just starting.
const (
	firstAnswer  = 2 * time.Second
	forbiddenFor = 30 * time.Second
)

// What a Secret may lack.
var (
	errNoSecret = errors.New("there is no such Secret")
	errNoKey    = errors.New("the Secret has no such key")
)

// Reader reads the passwords that a NodeConfig names from the Secrets of one namespace. What it read last is
// good while the API server is away.
type Reader struct {
	client    *kube.Client
	namespace string
	changed   func()

	mu       sync.Mutex
	ctx      context.Context // that of Run, nil before it
	followed map[string]*followed
}

// followed is one Secret.
type followed struct {
	informer cache.SharedIndexInformer
	stop     context.CancelFunc

	mu        sync.Mutex
	err       error     // why the last attempt to watch failed
	forbidden time.Time // since when it has been, zero if it is not
}

// NewReader returns a reader that calls changed whenever a Secret has.
func NewReader(client *kube.Client, namespace string, changed func()) *Reader {
	return &Reader{client: client, namespace: namespace, changed: changed, followed: map[string]*followed{}}
}

// Name returns the task's name.
func (r *Reader) Name() string { return "secrets" }

// Run lets Secrets be watched until the context ends.
func (r *Reader) Run(ctx context.Context) error {
	r.mu.Lock()
	r.ctx = ctx
	r.mu.Unlock()
	r.changed()
	<-ctx.Done()
	return nil
}

// ReadAll returns the passwords of a NodeConfig's peers, by peer, and why those that could not be read
// could not; [password.ErrPending] says that it may still be. It follows the Secrets that the NodeConfig
// names and no others, and waits a moment for those that it has not followed before.
func (r *Reader) ReadAll(ctx context.Context, c *v1alpha1.Config) (map[string]speaker.Password, map[string]error) {
	r.follow(ctx, c)
	return password.ReadAll(c, r.read)
}

func (r *Reader) follow(ctx context.Context, c *v1alpha1.Config) {
	named := map[string]bool{}
	if c.BGP != nil {
		for _, p := range c.BGP.Peers {
			if p.Password != nil {
				named[p.Password.Name] = true
			}
		}
	}
	var synced []cache.InformerSynced
	for _, f := range r.keep(named) {
		synced = append(synced, f.informer.HasSynced)
	}
	ctx, cancel := context.WithTimeout(ctx, firstAnswer)
	defer cancel()
	cache.WaitForCacheSync(ctx.Done(), synced...)
}

// keep begins to follow what is named and not followed, which it returns, and ends to follow what is not
// named any more.
func (r *Reader) keep(named map[string]bool) []*followed {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, f := range r.followed {
		if !named[name] {
			f.stop()
			delete(r.followed, name)
		}
	}
	var fresh []*followed
	for name := range named {
		if r.followed[name] == nil && r.ctx != nil {
			r.followed[name] = r.start(name)
			fresh = append(fresh, r.followed[name])
		}
	}
	return fresh
}

func (r *Reader) start(name string) *followed {
	f := &followed{informer: r.client.SecretInformer(r.namespace, name)}
	// Both fail only on an informer that runs already.
	_ = f.informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) { f.failed(err) })
	_, _ = f.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { r.changed() },
		UpdateFunc: func(any, any) { r.changed() },
		DeleteFunc: func(any) { r.changed() },
	})
	ctx, stop := context.WithCancel(r.ctx)
	f.stop = stop
	go f.informer.RunWithContext(ctx)
	go func() {
		if cache.WaitForCacheSync(ctx.Done(), f.informer.HasSynced) {
			r.changed() // that there is none is told by no event
		}
	}()
	return f
}

func (f *followed) failed(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	switch {
	case !apierrors.IsForbidden(err):
		f.forbidden = time.Time{}
	case f.forbidden.IsZero():
		f.forbidden = time.Now()
	}
}

// read returns the password that a reference names.
func (r *Reader) read(ref v1alpha1.SecretKeyRef) (speaker.Password, error) {
	p, err := r.find(ref)
	if err != nil {
		return p, fmt.Errorf("read key %s of Secret %s/%s: %w", ref.Key, r.namespace, ref.Name, err)
	}
	return p, nil
}

func (r *Reader) find(ref v1alpha1.SecretKeyRef) (speaker.Password, error) {
	r.mu.Lock()
	f := r.followed[ref.Name]
	r.mu.Unlock()
	if f == nil {
		return speaker.Password{}, password.ErrPending
	}
	if !f.informer.HasSynced() {
		return speaker.Password{}, f.unread()
	}
	object, found, err := f.informer.GetStore().GetByKey(r.namespace + "/" + ref.Name)
	if err != nil || !found {
		return speaker.Password{}, errNoSecret
	}
	text, found := object.(*corev1.Secret).Data[ref.Key]
	if !found {
		return speaker.Password{}, errNoKey
	}
	p, err := password.Parse(string(text))
	if err != nil {
		return p, fmt.Errorf("it %w", err)
	}
	return p, nil
}

// unread says why a Secret has not been read: for good where the API server has refused it for some time.
func (f *followed) unread() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.err == nil:
		return password.ErrPending
	case !f.forbidden.IsZero() && time.Since(f.forbidden) > forbiddenFor:
		return f.err
	}
	return fmt.Errorf("%w: %w", password.ErrPending, f.err)
}
