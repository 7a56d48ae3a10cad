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

// reporter is what a rule needs of a *testing.T. Fatalf ends the rule.
type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
}

// rule is one thing that a plugin must do, and how that is seen.
type rule struct {
	name, says, spec string
	play             func(*world)
}

// world is the stage of one rule: a host, containers on it, and the plugin.
type world struct {
	reporter
	rule     rule
	plugin   Plugin
	versions []string
	host     namespace
	dir      string
	pods     []*pod
}

// network is the name of the network that attachments belong to unless a rule says otherwise.
const (
	network      = "cnitest"
	otherNetwork = "cnitest-other"
)

// pod is one attachment with its container.
type pod struct {
	Attachment
	ns   namespace
	prev *current.Result
}

// check plays the rule on a fresh world.
func (r rule) check(t reporter, p Plugin, versions []string) {
	t.Helper()
	w := &world{reporter: t, rule: r, plugin: p, versions: versions}
	defer w.close()
	w.open()
	r.play(w)
}

func (w *world) open() {
	w.Helper()
	var err error
	if w.dir, err = os.MkdirTemp("", "flt-cnitest-"); err != nil {
		w.Fatalf("make a directory for the plugin's state: %v", err)
	}
	if w.host, err = newNamespace("host"); err != nil {
		w.Fatalf("%v", err)
	}
	if w.plugin.Setup != nil {
		w.hook("Setup", func() error { return w.plugin.Setup(w.Host()) })
	}
	if w.plugin.Warm {
		warm := w.newPod()
		w.del(warm, w.add(warm))
		w.drop(warm)
	}
}

func (w *world) close() {
	for _, p := range w.pods {
		p.ns.remove()
	}
	w.host.remove()
	os.RemoveAll(w.dir)
}

// Host returns the host as hooks see it.
func (w *world) Host() Host { return Host{Dir: w.dir, Netns: w.host.path()} }

// hook runs one of the author's functions inside the host.
func (w *world) hook(name string, f func() error) {
	w.Helper()
	if err := w.host.do(f); err != nil {
		w.Fatalf("cnitest.Plugin.%s: %v", name, err)
	}
}

// broken ends the rule: the plugin does not keep it.
func (w *world) broken(format string, args ...any) {
	w.Helper()
	w.Fatalf("%s\n\trule: %s\n\tspec: %s", fmt.Sprintf(format, args...), w.rule.says, w.rule.spec)
}

// newest is the newest version that the plugin supports.
func (w *world) newest() string { return w.versions[len(w.versions)-1] }

// newPod makes a container, and what the plugins before this one make for it.
func (w *world) newPod() *pod {
	w.Helper()
	return w.newPodOn(network)
}

func (w *world) newPodOn(network string) *pod {
	w.Helper()
	ns, err := newNamespace("pod")
	if err != nil {
		w.Fatalf("%v", err)
	}
	index := len(w.pods) + 1
	p := &pod{ns: ns, Attachment: Attachment{
		Network: network, IfName: "eth0", Netns: ns.path(), Index: index,
		// As long as those of containerd, and of the same letters.
		ContainerID: fmt.Sprintf("%060x%04x", os.Getpid(), index),
	}}
	w.pods = append(w.pods, p)
	if w.plugin.Stands == Chained {
		w.hook("PrevResult", func() (err error) {
			p.prev, err = w.plugin.PrevResult(w.Host(), p.Attachment)
			return err
		})
		if p.prev.DNS.IsEmpty() { // something to pass on that no plugin here has a use for
			p.prev.DNS = types.DNS{Nameservers: []string{"192.0.2.53"}, Search: []string{"cnitest.example"}}
		}
	}
	return p
}

// drop removes the container's namespace, as when the container is gone.
func (w *world) drop(p *pod) {
	w.Helper()
	if err := p.ns.remove(); err != nil {
		w.Fatalf("%v", err)
	}
	p.ns = namespace{}
}

func (w *world) look() (snapshot, error) {
	var all snapshot
	for i := -1; i < len(w.pods); i++ {
		ns, label := w.host, hostLine
		if i >= 0 {
			ns, label = w.pods[i].ns, fmt.Sprintf("container %d: ", i+1)
		}
		if ns.name == "" {
			continue
		}
		lines, err := observeNamespace(ns)
		if err != nil {
			return nil, err
		}
		for _, line := range lines {
			all = append(all, label+line)
		}
	}
	own, err := w.own()
	for _, line := range own {
		all = append(all, ownLine+line)
	}
	return all, err
}

func (w *world) own() (lines []string, err error) {
	if w.plugin.Observe == nil {
		return nil, nil
	}
	err = w.host.do(func() error {
		lines, err = w.plugin.Observe(w.Host())
		return err
	})
	if err != nil {
		err = fmt.Errorf("cnitest.Plugin.Observe: %w", err)
	}
	return lines, err
}

// state returns what there is, once it has settled.
func (w *world) state() snapshot {
	w.Helper()
	s, err := settle(w.look)
	if err != nil {
		w.Fatalf("look at the state: %v", err)
	}
	return s
}

// same fails the rule unless there is what there was.
func (w *world) same(want snapshot, when string) {
	w.Helper()
	w.compare(want, when, w.look)
}

// sameHost is same without what is inside containers.
func (w *world) sameHost(want snapshot, when string) {
	w.Helper()
	w.compare(want.host(), when, func() (snapshot, error) {
		now, err := w.look()
		return now.host(), err
	})
}

func (w *world) compare(want snapshot, when string, look func() (snapshot, error)) {
	w.Helper()
	diff, err := await(want, look)
	if err != nil {
		w.Fatalf("look at the state: %v", err)
	}
	if diff != "" {
		w.broken("%s, something is left or lost (- gone, + new):\n%s", when, diff)
	}
}

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
	r, err := s.run(w.host.do)
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
