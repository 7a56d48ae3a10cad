// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"flock.fritzlab.net/flock/api/v1alpha1/annotation"
	"flock.fritzlab.net/flock/flock-ipam/internal/allocate"
	"flock.fritzlab.net/flock/flock-ipam/internal/config"
	"flock.fritzlab.net/flock/internal/nodefile"
	"flock.fritzlab.net/flock/internal/report"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// maxContainerID is far above what runtimes use, and below what the store can take for a key.
const maxContainerID = 1024

type request = cni.Request[config.Config]

// add counts an ADD that fails, and tells ipamd of it.
func add(ctx context.Context, req *request) (*current.Result, error) {
	begun := time.Now().UTC() // the local zone would cost reading /etc/localtime
	result, err := give(ctx, req, begun)
	if err != nil {
		refuse(req, err)
	}
	return result, err
}

// refuse does its best: what is wrong is told to the runtime in any case, and may be the store itself.
func refuse(req *request, err error) {
	var e *types.Error
	if !errors.As(err, &e) {
		return
	}
	report.Send(req.Conf.StateDir, report.Report{Pod: req.Pod, Code: e.Code, Message: e.Msg})
	_ = openStore(req.Conf).Update(func(tx *store.Tx) error { return tx.Refuse(e.Code) })
}

// give returns what the attachment has already, whatever has changed since, or else allocates. All that
// may take time comes before the transaction, or between two of them.
func give(ctx context.Context, req *request, begun time.Time) (*current.Result, error) {
	if n := len(req.Attachment.ContainerID); n > maxContainerID {
		return nil, cni.Wrap(types.ErrInvalidEnvironmentVariables, fmt.Errorf("read CNI_CONTAINERID: %d bytes, %d at most", n, maxContainerID))
	}
	if mayWait(req) {
		g, found, err := look(req)
		if err != nil {
			return nil, coded(err)
		}
		if found {
			return g.result(req)
		}
	}
	o := order{request: req, begun: begun}
	o.plan, o.node, o.planErr = prepare(ctx, req)
	g, err := o.fill(ctx)
	if err != nil {
		return nil, coded(err)
	}
	return g.result(req)
}

// order is what is to be allocated.
type order struct {
	*request
	plan    allocate.Plan
	node    nodefile.Node
	planErr error // counts only for an attachment that has nothing yet
	passed  error // why extensions were passed over, nil for none
	begun   time.Time
}

// once gives in one transaction.
func (o order) once() (g grant, err error) {
	err = openStore(o.Conf).Update(func(tx *store.Tx) (err error) {
		var found bool
		if g, found, err = granted(tx, o.Attachment); err != nil || found {
			return err
		}
		if o.planErr != nil {
			return o.planErr
		}
		g, err = o.allocate(tx)
		return err
	})
	return g, err
}

// look reads what the attachment has, without the lock that keeps others out.
func look(req *request) (g grant, found bool, err error) {
	err = openStore(req.Conf).View(func(tx *store.Tx) error {
		g, found, err = granted(tx, req.Attachment)
		return err
	})
	return g, found, err
}

// prepare reads the pools and what the pod asks for. Its errors have their codes.
func prepare(ctx context.Context, req *request) (allocate.Plan, nodefile.Node, error) {
	node, err := readNode(req.Conf)
	if err != nil {
		return allocate.Plan{}, node, err
	}
	wish := allocate.Wish{
		Attachment: req.Attachment, Pod: req.Pod, Node: node,
		Delegated: req.Conf.Delegated(), Gateway: req.Conf.Form == config.Subnet,
	}
	if err := readWish(ctx, req, &wish); err != nil {
		return allocate.Plan{}, node, err
	}
	plan, err := allocate.NewPlan(wish)
	return plan, node, coded(err)
}

func readNode(c config.Config) (nodefile.Node, error) {
	node, err := c.Node()
	if errors.Is(err, fs.ErrNotExist) {
		return node, cni.Wrap(cni.CodeNoPool, err)
	}
	return node, cni.Wrap(types.ErrInvalidNetworkConfig, err)
}

func (o order) allocate(tx *store.Tx) (grant, error) {
	alloc := store.Allocation{
		Attachment: o.Attachment, State: store.Pending, Pod: o.Pod, Netns: o.Netns, Allocated: o.begun,
	}
	if o.Conf.Delegated() {
		// Nobody comes after who would commit it.
		alloc.State, alloc.CommittedAt = store.Committed, time.Now().UTC()
	}
	alloc, err := allocate.New(o.node.CoolDown).Allocate(tx, o.plan, alloc)
	if err != nil {
		return grant{}, err
	}
	g := grant{alloc: alloc}
	if o.Conf.Form == config.Subnet {
		g.subnets = subnetsOf(alloc.Addresses, o.node.Pools)
		err = tx.SetNote(config.Name, o.Attachment, g.subnets)
	}
	return g, err
}

// coded gives an error its CNI code. What is none of the plugin's own errors comes from the store.
func coded(err error) error {
	var bad *annotation.Error
	var taken *store.TakenError
	switch {
	case errors.Is(err, allocate.ErrNoPool):
		return cni.Wrap(cni.CodeNoPool, err)
	case errors.Is(err, allocate.ErrExhausted):
		return cni.Wrap(cni.CodePoolExhausted, err)
	case errors.As(err, &taken):
		return cni.Wrap(cni.CodeAddressTaken, err)
	case errors.As(err, &bad):
		return cni.Wrap(cni.CodeBadAnnotation, err)
	case errors.Is(err, store.ErrFull):
		return cni.Wrap(cni.CodeStoreFull, err)
	}
	return cni.Wrap(cni.CodeStoreUnreadable, err)
}
