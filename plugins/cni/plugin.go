// SPDX-License-Identifier: Apache-2.0

// Package cni is the frame that every flock stage is built on, and that a plugin of your own may be
// built on: it reads the runtime's request, hands it to one function per verb, and prints the result
// or the error. It implements the CNI specification 1.1.0 (and 0.3.1, 0.4.0, 1.0.0 for older runtimes)
// on top of the reference skel package.
//
// A plugin is a value of type [Plugin] and a main function of one line:
//
//	func main() { plugin.Main() }
package cni

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/containernetworking/cni/pkg/ns"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
)

// Versions are the CNI specification versions that the frame speaks.
var Versions = version.PluginSupports("0.3.1", "0.4.0", "1.0.0", "1.1.0")

// Plugin is one CNI plugin: what it does for each verb, over its own configuration C.
//
// Every function is required. Errors that carry a CNI error code are made by [Wrap]; any other error
// reaches the runtime with code 999, as a panic does.
type Plugin[C any] struct {
	// Name is the executable's name, "flock-veth".
	Name string
	// Parse turns the request's configuration into C, once, before the verb runs. Its errors reach
	// the runtime with code 7 (invalid network configuration) unless they carry another one.
	Parse func(Input) (C, error)
	// Add returns the result that the next plugin gets as its prevResult. Repeated for the same
	// attachment it returns the same result and changes nothing.
	Add func(context.Context, *Request[C]) (*current.Result, error)
	// Del frees what the plugin owns of the attachment. Freeing what is absent is not an error.
	Del func(context.Context, *Request[C]) error
	// Check returns an error that names the first difference between prevResult and what is there.
	Check func(context.Context, *Request[C]) error
	// GC frees what the plugin owns of this network's attachments that are not valid any more.
	GC func(context.Context, *GCRequest[C]) error
	// Status returns an error with code 50 when an Add would fail, 51 when existing pods may be cut off.
	Status func(context.Context, *StatusRequest[C]) error
}

// Main serves the one request that the environment and stdin hold, and exits: 0 after a success,
// 1 after an error, which it prints to stdout as the specification (section 2, "Error") demands.
func (p Plugin[C]) Main() {
	// One short request allocates less than a collection is worth.
	debug.SetGCPercent(-1)
	if err := p.serve(); err != nil {
		if perr := err.Print(); perr != nil {
			fmt.Fprintln(os.Stderr, p.Name+": print the error:", perr)
		}
		os.Exit(1)
	}
}

// serve prints a result only when the whole request succeeded, so that stdout holds one JSON object.
func (p Plugin[C]) serve() *types.Error {
	trace := openTrace(p.Name)
	var result types.Result
	funcs := skel.CNIFuncs{
		Add: func(args *skel.CmdArgs) (err error) {
			defer recovered(&err)
			result, err = p.add(args)
			return err
		},
		Del:    func(args *skel.CmdArgs) error { return p.withRequest(args, p.Del) },
		Check:  func(args *skel.CmdArgs) error { return p.withRequest(args, p.Check) },
		GC:     p.gc,
		Status: p.status,
	}
	err := skel.PluginMainFuncsWithError(funcs, Versions, p.about())
	if err == nil && result != nil {
		if perr := result.Print(); perr != nil {
			err = types.NewError(types.ErrIOFailure, "print the result: "+perr.Error(), "")
		}
	}
	trace.done(err)
	return err
}

func (p Plugin[C]) about() string {
	return p.Name + ": a CNI plugin of flock. A container runtime runs it, or cnitool; see the README."
}

func (p Plugin[C]) add(args *skel.CmdArgs) (types.Result, error) {
	if err := checkNetns(args.Netns); err != nil {
		return nil, err
	}
	req, err := newRequest(args, p.Parse)
	if err != nil {
		return nil, err
	}
	result, err := p.Add(context.Background(), req)
	if err != nil {
		return nil, err
	}
	converted, err := result.GetAsVersion(req.CNIVersion)
	if err != nil {
		return nil, Wrap(types.ErrIncompatibleCNIVersion, err)
	}
	return converted, nil
}

// checkNetns refuses what is no network namespace, and the plugin's own. skel looks for the latter
// itself, but only after the verb has run.
func checkNetns(path string) error {
	same, err := ns.CheckNetNS(path)
	if err != nil {
		return err
	}
	if same && os.Getenv("CNI_NETNS_OVERRIDE") == "" {
		return Wrap(types.ErrInvalidNetNS, fmt.Errorf("CNI_NETNS %s is the network namespace of the host", path))
	}
	return nil
}

func (p Plugin[C]) withRequest(args *skel.CmdArgs, verb func(context.Context, *Request[C]) error) (err error) {
	defer recovered(&err)
	req, err := newRequest(args, p.Parse)
	if err != nil {
		return err
	}
	return verb(context.Background(), req)
}

func (p Plugin[C]) gc(args *skel.CmdArgs) (err error) {
	defer recovered(&err)
	req, err := newGCRequest(args, p.Parse)
	if err != nil {
		return err
	}
	return p.GC(context.Background(), req)
}

func (p Plugin[C]) status(args *skel.CmdArgs) (err error) {
	defer recovered(&err)
	in, conf, err := parseInput(args.StdinData, p.Parse)
	if err != nil {
		return err
	}
	return p.Status(context.Background(), &StatusRequest[C]{Network: in.Network, Conf: conf})
}

// recovered turns a panic into a CNI error, because a runtime that gets no JSON reports nothing of use.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = types.NewError(types.ErrInternal, fmt.Sprintf("panic: %v", r), string(debug.Stack()))
	}
}

// parseInput decodes stdin once and gives it to the plugin's own parser.
func parseInput[C any](stdin []byte, parse func(Input) (C, error)) (Input, C, error) {
	var zero C
	in, err := decodeInput(stdin)
	if err != nil {
		return Input{}, zero, err
	}
	conf, err := parse(in)
	if err != nil {
		if coded := (*types.Error)(nil); !errors.As(err, &coded) {
			err = Wrap(types.ErrInvalidNetworkConfig, err)
		}
		return Input{}, zero, err
	}
	return in, conf, nil
}
