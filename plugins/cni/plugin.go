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
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
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
	// Add returns the result that the next plugin gets as its prevResult; nil passes the prevResult on
	// as it came, to the byte. Repeated for the same attachment it returns the same result and changes
	// nothing.
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
// 1 after an error, which it prints to stdout as the specification (section 5, "Error") demands.
func (p Plugin[C]) Main() {
	trace := openTrace(p.Name)
	stdin, result, err := p.serve()
	if err == nil && result != nil {
		if _, werr := os.Stdout.Write(result); werr != nil {
			err = types.NewError(types.ErrIOFailure, "print the result: "+werr.Error(), "")
		}
	}
	trace.done(err)
	if err == nil {
		return
	}
	if perr := printError(stdin, err); perr != nil {
		fmt.Fprintln(os.Stderr, p.Name+": print the error:", perr)
	}
	os.Exit(1)
}

// serve runs the verb. It prints neither the result nor the error, so that stdout gets one JSON object
// in the end. stdin is nil when the request did not get as far as a verb.
func (p Plugin[C]) serve() (stdin, result []byte, err *types.Error) {
	verb := func(f func(*skel.CmdArgs) error) func(*skel.CmdArgs) error {
		return guarded(func(args *skel.CmdArgs) error {
			stdin = args.StdinData
			return f(args)
		})
	}
	add := func(args *skel.CmdArgs) (err error) {
		result, err = p.add(args)
		return err
	}
	funcs := skel.CNIFuncs{Add: verb(add), Del: verb(p.del), Check: verb(p.check), GC: verb(p.gc), Status: verb(p.status)}
	err = skel.PluginMainFuncsWithError(funcs, Versions, p.Name+": a CNI plugin. A container runtime runs it, or cnitool.")
	return stdin, result, err
}

// printError prints the error with the version of the request, which skel's own printing leaves out.
func printError(stdin []byte, e *types.Error) error {
	inUse, err := create.DecodeVersion(stdin)
	if err != nil {
		inUse = version.Current()
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "    ")
	return enc.Encode(struct {
		CNIVersion string `json:"cniVersion"`
		*types.Error
	}{inUse, e})
}

// guarded keeps stray prints of the verb off stdout, and turns its panic into a CNI error, because a
// runtime that gets no JSON reports nothing of use.
func guarded(verb func(*skel.CmdArgs) error) func(*skel.CmdArgs) error {
	return func(args *skel.CmdArgs) (err error) {
		stdout := os.Stdout
		os.Stdout = os.Stderr
		defer func() {
			os.Stdout = stdout
			if r := recover(); r != nil {
				err = types.NewError(types.ErrInternal, fmt.Sprintf("panic: %v", r), string(debug.Stack()))
			}
		}()
		return verb(args)
	}
}

// add returns what is to be printed.
func (p Plugin[C]) add(args *skel.CmdArgs) ([]byte, error) {
	if err := requireNetns(args); err != nil {
		return nil, err
	}
	req, err := newRequest(args, p.Parse, prevResultStrict)
	if err != nil {
		return nil, err
	}
	result, err := p.Add(context.Background(), req)
	if err != nil {
		return nil, err
	}
	if result == nil && req.PrevResult == nil {
		return nil, fmt.Errorf("%s: ADD returned no result, and there is no prevResult to pass on", p.Name)
	}
	if result == nil {
		return passOn(req.Input)
	}
	if err := checkResult(result); err != nil {
		return nil, fmt.Errorf("%s: the result of ADD: %w", p.Name, err)
	}
	return encode(result, req.CNIVersion)
}

func (p Plugin[C]) check(args *skel.CmdArgs) error {
	if err := requireNetns(args); err != nil {
		return err
	}
	req, err := newRequest(args, p.Parse, prevResultStrict)
	if err != nil {
		return err
	}
	return p.Check(context.Background(), req)
}

// del lets nothing but the configuration itself fail it: runtimes repeat a failed DEL for ever, and
// the pod stays for as long.
func (p Plugin[C]) del(args *skel.CmdArgs) error {
	forgetDeadNetns(args)
	req, err := newRequest(args, p.Parse, prevResultOptional)
	if err != nil {
		return err
	}
	return p.Del(context.Background(), req)
}

func (p Plugin[C]) gc(args *skel.CmdArgs) error {
	req, err := newGCRequest(args, p.Parse)
	if err != nil {
		return err
	}
	return p.GC(context.Background(), req)
}

func (p Plugin[C]) status(args *skel.CmdArgs) error {
	in, conf, err := parseInput(args.StdinData, p.Parse, prevResultStrict)
	if err != nil {
		return err
	}
	return p.Status(context.Background(), &StatusRequest[C]{Input: in, Conf: conf})
}

// parseInput decodes stdin once and gives it to the plugin's own parser.
func parseInput[C any](stdin []byte, parse func(Input) (C, error), mode prevResultMode) (Input, C, error) {
	var zero C
	in, err := decodeInput(stdin, mode)
	if err != nil {
		return Input{}, zero, err
	}
	conf, err := parse(in)
	if err != nil {
		return Input{}, zero, Wrap(types.ErrInvalidNetworkConfig, err)
	}
	return in, conf, nil
}
