// SPDX-License-Identifier: Apache-2.0

package cnitest

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"time"
)

func stressRules(versions []string) []rule {
	rules := []rule{
		{"concurrent-attachments", "requests for different attachments work at the same time", specFlock, concurrentAttachments},
		{"concurrent-same", "requests for the same attachment at the same time end as if one came after the other", specFlock, concurrentSame},
		{"killed-add", "what an ADD leaves that was killed half-way, DEL removes", specDel, killedAdd},
		{"killed-del", "what a DEL leaves that was killed half-way, the next DEL removes", specDel, killedDel},
	}
	if slices.ContainsFunc(versions, hasGC) {
		rules = append(rules, rule{"killed-gc", "what an ADD leaves that was killed half-way, GC removes", specGC, killedGC})
	}
	return rules
}

// together makes the calls at the same time, and holds each output to the specification.
func (w *world) together(calls []call) []reply {
	w.Helper()
	replies, errs := make([]reply, len(calls)), make([]error, len(calls))
	var group sync.WaitGroup
	for i, c := range calls {
		group.Go(func() {
			if replies[i], errs[i] = w.run(c); errs[i] == nil {
				errs[i] = replies[i].pure()
			}
		})
	}
	group.Wait()
	for i, err := range errs {
		if err != nil {
			w.broken("%v\n%v", err, replies[i])
		}
	}
	return replies
}

const manyAttachments = 16

func concurrentAttachments(w *world) {
	pods := make([]*pod, manyAttachments)
	for i := range pods {
		pods[i] = w.newPod()
	}
	before := w.state()
	adds, dels := make([]call, len(pods)), make([]call, len(pods))
	for i, p := range pods {
		adds[i] = w.adding(p)
	}
	replies := w.together(adds)
	for i, r := range replies {
		if r.exit != 0 {
			w.broken("one of %d ADDs at the same time failed\n%v", len(pods), r)
		}
		dels[i] = deletion(pods[i], r.stdout)
	}
	if w.plugin.Stands != Chained {
		w.distinct(replies)
	}
	for _, r := range w.together(dels) {
		if r.exit != 0 {
			w.broken("one of %d DELs at the same time failed\n%v", len(pods), r)
		}
	}
	w.same(before, "after the DELs")
}

// distinct fails the rule if two results share an address.
func (w *world) distinct(replies []reply) {
	w.Helper()
	owner := map[string]int{}
	for i, r := range replies {
		for _, ip := range w.read(r.stdout, w.newest()).IPs {
			address := ip.Address.IP.String()
			if j, taken := owner[address]; taken {
				w.broken("two attachments got the address %s\n%v\n%v", address, replies[j], r)
			}
			owner[address] = i
		}
	}
}

const manyAtOnce = 8

func concurrentSame(w *world) {
	p := w.newPod()
	before := w.state()
	adds, dels := make([]call, manyAtOnce), make([]call, manyAtOnce)
	for i := range adds {
		adds[i], dels[i] = w.adding(p), deletion(p, nil)
	}
	var first []byte
	for _, r := range w.together(adds) {
		switch {
		case r.exit != 0:
			w.broken("one of %d ADDs of the same attachment at the same time failed\n%v", manyAtOnce, r)
		case first == nil:
			first = r.stdout
		case !bytes.Equal(first, r.stdout):
			w.broken("ADDs of the same attachment at the same time returned\n%s\nand\n%s", first, r.stdout)
		}
	}
	for _, r := range w.together(dels) {
		if r.exit != 0 {
			w.broken("one of %d DELs of the same attachment at the same time failed\n%v", manyAtOnce, r)
		}
	}
	w.same(before, "after the DELs")
}

// kills is how many times a request is killed.
const kills = 12

// delays returns when to kill, evenly spread over the time that a request takes.
func (w *world) delays(p *pod) []time.Duration {
	w.Helper()
	started := time.Now()
	w.del(p, w.add(p))
	whole := time.Since(started) / 2
	delays := make([]time.Duration, kills)
	for i := range delays {
		delays[i] = whole * time.Duration(i+1) / kills
	}
	return delays
}

// kill makes a request that does not live to its end, or only just.
func (w *world) kill(c call, after time.Duration) {
	w.Helper()
	c.kill = after
	if _, err := w.run(c); err != nil {
		w.Fatalf("%v", err)
	}
}

func killedAdd(w *world) {
	p := w.newPod()
	before := w.state()
	for _, after := range w.delays(p) {
		w.kill(w.adding(p), after)
		w.del(p, nil)
		w.same(before, fmt.Sprintf("after an ADD killed after %v and its DEL", after))
	}
	w.del(p, w.add(p))
	w.same(before, "after a last ADD and DEL")
}

func killedDel(w *world) {
	p := w.newPod()
	before := w.state()
	for _, after := range w.delays(p) {
		added := w.add(p)
		w.kill(deletion(p, added), after)
		w.del(p, added)
		w.same(before, fmt.Sprintf("after a DEL killed after %v and another", after))
	}
}

// killedGC then makes room for the next try by DEL: GC need not look inside a container.
func killedGC(w *world) {
	p := w.newPod()
	before := w.state()
	for _, after := range w.delays(p) {
		w.kill(w.adding(p), after)
		w.ok("GC after a killed ADD", w.collection(network))
		w.sameHost(before, fmt.Sprintf("after an ADD killed after %v and GC", after))
		w.del(p, nil)
	}
}
