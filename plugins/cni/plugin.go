// SPDX-License-Identifier: Apache-2.0

// Package cni is the frame that every flock stage is built on, and that a plugin of your own may be
// built on: it reads the runtime's request, hands it to one function per verb, and prints the result
// or the error. It implements the CNI specification 1.1.0, and 0.3.1, 0.4.0 and 1.0.0 for older runtimes.
// The library's skel package does the same, but decodes stdin twice more and links regexp: a third of a
// millisecond for each of a chain's plugins.
//
// A plugin is a value of type [Plugin] and a main function of one line:
//
//	func main() { plugin.Main() }
package cni

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

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
	result, version, err := p.serve(readParameters())
	if err == nil && result != nil {
		if _, werr := os.Stdout.Write(result); werr != nil {
			err = types.NewError(types.ErrIOFailure, "print the result: "+werr.Error(), "")
		}
	}
	coded := asError(err)
	trace.done(coded)
	if err == nil {
		return
	}
	if perr := printError(version, coded); perr != nil {
		fmt.Fprintln(os.Stderr, p.Name+": print the error:", perr)
	}
	os.Exit(1)
}

// asError returns the CNI error that err holds, or one of code 999.
func asError(err error) *types.Error {
	if coded := (*types.Error)(nil); err == nil || errors.As(err, &coded) {
		return coded
	}
	return types.NewError(types.ErrInternal, err.Error(), "")
}

// printError prints the error with the version of the request, which the library's own printing leaves out.
func printError(version string, e *types.Error) error {
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "    ")
	return enc.Encode(struct {
		CNIVersion string `json:"cniVersion"`
		*types.Error
	}{version, e})
}

// serve returns what is to be printed, and the version of the request for an error to say. It keeps stray
// prints of a verb off stdout, and turns its panic into a CNI error, because a runtime that gets no JSON
// reports nothing of use.
func (p Plugin[C]) serve(params parameters) (result []byte, inUse string, err error) {
	stdout := os.Stdout
	os.Stdout = os.Stderr
	defer func() {
		os.Stdout = stdout
		if r := recover(); r != nil {
			err = types.NewError(types.ErrInternal, fmt.Sprintf("panic: %v", r), string(debug.Stack()))
		}
	}()
	inUse = version.Current()
	switch params.command {
	case "":
		fmt.Fprintf(os.Stderr, "%s: a CNI plugin for the versions %s. A container runtime runs it, or cnitool.\n",
			p.Name, strings.Join(Versions.SupportedVersions(), ", "))
		return nil, inUse, nil
	case "VERSION":
		var buf bytes.Buffer
		err := Versions.Encode(&buf)
		return buf.Bytes(), inUse, err
	}
	if err := params.check(); err != nil {
		return nil, inUse, err
	}
	in, err := readInput(os.Stdin, params.command)
	if in.CNIVersion != "" {
		inUse = in.CNIVersion
	}
	if err != nil {
		return nil, inUse, err
	}
	result, err = p.dispatch(params, in)
	return result, inUse, err
}

func (p Plugin[C]) dispatch(params parameters, in Input) ([]byte, error) {
	conf, err := p.Parse(in)
	if err != nil {
		return nil, Wrap(types.ErrInvalidNetworkConfig, err)
	}
	ctx := context.Background()
	switch params.command {
	case "GC":
		req, err := newGCRequest(in, conf)
		if err != nil {
			return nil, err
		}
		return nil, p.GC(ctx, req)
	case "STATUS":
		return nil, p.Status(ctx, &StatusRequest[C]{Input: in, Conf: conf})
	}
	req, err := newRequest(params, in, conf)
	if err != nil {
		return nil, err
	}
	switch params.command {
	case "DEL":
		return nil, p.Del(ctx, req)
	case "CHECK":
		return nil, p.Check(ctx, req)
	}
	return p.add(ctx, req)
}

// add returns what is to be printed.
func (p Plugin[C]) add(ctx context.Context, req *Request[C]) ([]byte, error) {
	result, err := p.Add(ctx, req)
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
