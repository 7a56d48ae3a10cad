// SPDX-License-Identifier: Apache-2.0

// Command testplugin is what the tests of the frame execute: it writes down the request as its verb saw
// it, and then does what its configuration says.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	current "github.com/containernetworking/cni/pkg/types/100"
	_ "github.com/vishvananda/netlink" // what every stage links, so that its start is a stage's

	"flock.fritzlab.net/flock/plugins/cni"
)

type config struct {
	// Seen is the file that the request is written to.
	Seen string `json:"seen"`
	// Do is what happens in the verb, or in Parse if InParse.
	Do      string `json:"do"`
	InParse bool   `json:"inParse"`
	Code    uint   `json:"code"`
}

// seen is what a verb saw.
type seen struct {
	Verb       string
	Network    string
	Attachment cni.Attachment
	Pod        cni.Pod
	Netns      string
	HasPrev    bool
	Own        string
	IPAMType   string
	Runtime    string
	// Valid are the answers of GC for attachments (c1, eth0) of this network and of another, and (c2, eth0).
	Valid [3]bool
}

func main() {
	cni.Plugin[config]{
		Name: "testplugin", Parse: parse, Add: add,
		Del:    func(_ context.Context, r *cni.Request[config]) error { return serve("DEL", r) },
		Check:  func(_ context.Context, r *cni.Request[config]) error { return serve("CHECK", r) },
		GC:     gc,
		Status: status,
	}.Main()
}

func parse(in cni.Input) (config, error) {
	var c config
	if err := cni.Strict(in.Own, &c); err != nil {
		return c, err
	}
	if c.InParse {
		return c, c.act()
	}
	return c, nil
}

func add(_ context.Context, r *cni.Request[config]) (*current.Result, error) {
	if err := serve("ADD", r); err != nil {
		return nil, err
	}
	switch r.Conf.Do {
	case "no result":
		return nil, nil
	case "bad result":
		return &current.Result{IPs: []*current.IPConfig{{Interface: current.Int(0)}}}, nil
	}
	if r.PrevResult == nil {
		return &current.Result{}, nil
	}
	return r.PrevResult, nil
}

func serve(verb string, r *cni.Request[config]) error {
	s := seenOf(verb, r.Input)
	s.Attachment, s.Pod, s.Netns = r.Attachment, r.Pod, r.Netns
	return s.writeAndAct(r.Conf)
}

func seenOf(verb string, in cni.Input) seen {
	runtime, _ := json.Marshal(in.RuntimeConfig)
	return seen{
		Verb: verb, Network: in.Network, HasPrev: in.PrevResult != nil, Own: string(in.Own),
		IPAMType: in.IPAMType, Runtime: string(runtime),
	}
}

func (s seen) writeAndAct(c config) error {
	if c.Seen != "" {
		out, err := json.Marshal(s)
		if err := errors.Join(err, os.WriteFile(c.Seen, out, 0o600)); err != nil {
			return err
		}
	}
	if c.InParse {
		return nil
	}
	return c.act()
}

func gc(_ context.Context, r *cni.GCRequest[config]) error {
	s := seenOf("GC", r.Input)
	for i, a := range []cni.Attachment{
		{Network: r.Network, ContainerID: "c1", IfName: "eth0"},
		{Network: "other", ContainerID: "c1", IfName: "eth0"},
		{Network: r.Network, ContainerID: "c2", IfName: "eth0"},
	} {
		s.Valid[i] = r.Valid(a)
	}
	return s.writeAndAct(r.Conf)
}

func status(_ context.Context, r *cni.StatusRequest[config]) error {
	return seenOf("STATUS", r.Input).writeAndAct(r.Conf)
}

func (c config) act() error {
	switch c.Do {
	case "panic":
		var nothing *config
		return errors.New(nothing.Do)
	case "print":
		fmt.Println("a stray line")
	case "fail":
		return errors.New("do as told: failed")
	case "code":
		return fmt.Errorf("lost: %w", cni.Wrap(c.Code, errors.New("do as told: failed")))
	}
	return nil
}
