// SPDX-License-Identifier: Apache-2.0

package cnitest

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
)

// call is one request to the plugin. What is left zero is as a runtime would have it.
type call struct {
	command string
	pod     *pod   // nil for GC and STATUS
	version string // newest
	network string // the attachment's
	netns   *string
	prev    any // prevResult: a result, or JSON
	edit    func(config)
	stdin   []byte   // instead of the configuration
	env     []string // over the runtime's
	kill    time.Duration
}

// run makes the request. It is safe to use at the same time as others, and fails no rule.
func (w *world) run(c call) (reply, error) {
	s := start{
		binary: w.plugin.Binary, env: append(w.env(c), c.env...), stdin: c.stdin,
		timeout: w.plugin.timeout(), killAfter: c.kill,
	}
	if s.stdin == nil {
		s.stdin = w.conf(c).json()
	}
	r, err := s.run(func(start func() error) error { return In(w.host.path, start) })
	r.command = c.command
	return r, err
}

func (w *world) conf(c call) config {
	net := c.network
	if net == "" && c.pod != nil {
		net = c.pod.Network
	}
	conf := w.plugin.config(w.dir, cmp.Or(net, network), cmp.Or(c.version, w.newest()))
	if c.prev != nil {
		conf["prevResult"] = c.prev
	}
	if c.edit != nil {
		c.edit(conf)
	}
	return conf
}

func (w *world) env(c call) []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"), "CNI_COMMAND=" + c.command, "CNI_PATH=" + w.plugin.cniPath(), "CNI_ARGS=" + w.plugin.Args,
	}
	if c.pod == nil {
		return env
	}
	netns := c.pod.Netns
	if c.netns != nil {
		netns = *c.netns
	}
	return append(env, "CNI_CONTAINERID="+c.pod.ContainerID, "CNI_IFNAME="+c.pod.IfName, "CNI_NETNS="+netns)
}

// send makes the request and holds its output to the specification.
func (w *world) send(c call) reply {
	w.Helper()
	r, err := w.run(c)
	if err != nil {
		w.Fatalf("%v", err)
	}
	if err := r.pure(); err != nil {
		w.broken("%v\n%v", err, r)
	}
	return r
}

// ok makes a request that must succeed.
func (w *world) ok(what string, c call) reply {
	w.Helper()
	r := w.send(c)
	if r.exit != 0 {
		w.broken("%s failed\n%v", what, r)
	}
	return r
}

// refused makes a request that must fail, with one of the codes if any are given.
func (w *world) refused(what string, c call, codes ...uint) *types.Error {
	w.Helper()
	r := w.send(c)
	if r.exit == 0 {
		w.broken("%s was accepted\n%v", what, r)
	}
	e, err := r.cniError()
	if err != nil {
		w.broken("%v\n%v", err, r)
	}
	for _, code := range codes {
		if e.Code == code {
			return e
		}
	}
	if len(codes) > 0 {
		w.broken("%s was refused with code %d, not %s\n%v", what, e.Code, orList(codes), r)
	}
	return e
}

func orList(codes []uint) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(codes), "[]"), " ", " or ")
}

// adding is the ADD of an attachment.
func (w *world) adding(p *pod) call {
	c := call{command: "ADD", pod: p}
	if p.prev != nil {
		c.prev = w.prev(p, w.newest())
	}
	return c
}

// prev returns the attachment's prevResult in the version's form.
func (w *world) prev(p *pod, version string) types.Result {
	w.Helper()
	copied := *p.prev // the conversion writes into it
	r, err := copied.GetAsVersion(version)
	if err != nil {
		w.Fatalf("convert cnitest.Plugin.PrevResult to %s: %v", version, err)
	}
	return r
}

// result is what an ADD printed.
type result []byte

// MarshalJSON returns the result as it was printed.
func (r result) MarshalJSON() ([]byte, error) { return r, nil }

func (w *world) add(p *pod) result {
	w.Helper()
	return result(w.ok("ADD", w.adding(p)).stdout)
}

func (w *world) del(p *pod, prev result) {
	w.Helper()
	w.ok("DEL", deletion(p, prev))
}

// deletion is the DEL of an attachment; a nil prev is left out.
func deletion(p *pod, prev result) call {
	c := call{command: "DEL", pod: p}
	if prev != nil {
		c.prev = prev
	}
	return c
}

// read decodes a result of the version and returns it in its newest form.
func (w *world) read(r result, version string) *current.Result {
	w.Helper()
	decoded, err := create.Create(version, r)
	if err != nil {
		w.broken("the result is none of version %s: %v\n%s", version, err, r)
	}
	newest, err := current.NewResultFromResult(decoded)
	if err != nil {
		w.broken("the result of version %s: %v\n%s", version, err, r)
	}
	return newest
}
