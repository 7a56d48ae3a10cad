// SPDX-License-Identifier: Apache-2.0

package cnitest

func delRules() []rule {
	return []rule{
		{"del-frees", "DEL undoes all that ADD did", specDel, delFrees},
		{"del-without-prevresult", "DEL succeeds without prevResult, and frees as much", specDel, delWithoutPrevResult},
		{"del-netns-gone", "DEL succeeds and frees when the container's namespace is gone", specDel, delNetnsGone},
		{"del-before-add", "DEL of what was never added succeeds", specDel, delBeforeAdd},
		{"del-twice", "DEL repeated succeeds", specDel, delTwice},
		{"del-after-failed-add", "DEL after a failed ADD succeeds and leaves nothing", specDel, delAfterFailedAdd},
		{"del-only-its-own", "DEL touches no other attachment", specDel, delOnlyItsOwn},
		{"del-other-version", "DEL succeeds in another version than ADD's, because runtimes use the configuration of the day", specFlock, delOtherVersion},
		{"del-own-netns", "DEL whose CNI_NETNS has become the host's own namespace does not touch the host", specFlock, delOwnNetns},
		{"add-after-del", "an attachment can be added again after its DEL", specDel, addAfterDel},
	}
}

func delFrees(w *world) {
	p := w.newPod()
	before := w.state()
	w.del(p, w.add(p))
	w.same(before, "after DEL")
}

func delWithoutPrevResult(w *world) {
	p := w.newPod()
	before := w.state()
	w.add(p)
	w.del(p, nil)
	w.same(before, "after DEL without prevResult")
}

// delNetnsGone deletes one namespace under its path, and for another gives no path at all.
func delNetnsGone(w *world) {
	before := w.state()
	none := ""
	for what, netns := range map[string]*string{"whose CNI_NETNS is gone": nil, "without CNI_NETNS": &none} {
		p := w.newPod()
		added := w.add(p)
		w.drop(p)
		c := deletion(p, added)
		c.netns = netns
		w.ok("DEL "+what, c)
		w.same(before, "after DEL "+what)
	}
}

func delBeforeAdd(w *world) {
	p := w.newPod()
	before := w.state()
	w.del(p, nil)
	w.same(before, "after DEL")
}

func delTwice(w *world) {
	p := w.newPod()
	before := w.state()
	added := w.add(p)
	w.del(p, added)
	w.del(p, added)
	w.del(p, nil)
	w.same(before, "after the DELs")
}

// delAfterFailedAdd lets ADD fail where each plugin does that uses its prevResult, late rather than early.
func delAfterFailedAdd(w *world) {
	p := w.newPod()
	before := w.state()
	c := w.adding(p)
	c.edit = func(conf config) { conf["prevResult"] = "nonsense" }
	w.send(c)
	w.del(p, nil)
	w.same(before, "after a failed ADD and DEL")
}

func delOnlyItsOwn(w *world) {
	p, neighbour := w.newPod(), w.newPod()
	neighbours := w.add(neighbour)
	added := w.add(p)
	before := w.state()
	elsewhere, foreign := *p, *p
	elsewhere.IfName, foreign.Network = "net9", otherNetwork
	w.del(&elsewhere, nil)
	w.same(before, "after DEL of another interface of the container")
	w.del(&foreign, nil)
	w.same(before, "after DEL in another network")
	w.del(p, added)
	w.intact(neighbour, neighbours, "after DEL of another attachment")
}

// intact fails the rule if CHECK does, in versions that have one.
func (w *world) intact(p *pod, added result, when string) {
	w.Helper()
	if hasCheck(w.newest()) {
		w.ok("CHECK "+when, checking(p, added))
	}
}

func delOtherVersion(w *world) {
	oldest, newest := w.versions[0], w.newest()
	for _, versions := range [][2]string{{oldest, newest}, {newest, oldest}} {
		p := w.newPod()
		before := w.state()
		add := w.adding(p)
		add.version = versions[0]
		if p.prev != nil {
			add.prev = w.prev(p, versions[0])
		}
		w.ok("ADD of version "+versions[0], add)
		w.ok("DEL of version "+versions[1], call{command: "DEL", pod: p, version: versions[1]})
		w.same(before, "after ADD of version "+versions[0]+" and DEL of version "+versions[1])
	}
}

// delOwnNetns plays a process ID that the kernel gave to a host process after the container's end.
func delOwnNetns(w *world) {
	p := w.newPod()
	added := w.add(p)
	w.drop(p)
	if err := In(w.host.path, func() error { return addLink(p.IfName) }); err != nil {
		w.Fatalf("make an interface of the host: %v", err)
	}
	own := "/proc/self/ns/net"
	c := deletion(p, added)
	c.netns = &own
	w.send(c)
	if linkIn(w, w.host.path, p.IfName) == nil {
		w.broken("the host lost its own interface %s", p.IfName)
	}
}

func addAfterDel(w *world) {
	p := w.newPod()
	before := w.state()
	w.del(p, w.add(p))
	w.same(before, "after the first DEL")
	w.del(p, w.add(p))
	w.same(before, "after the second DEL")
}
