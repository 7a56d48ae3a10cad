// SPDX-License-Identifier: Apache-2.0

package cnitest

import "slices"

func gcRules() []rule {
	return []rule{
		{"gc-only-invalid", "GC removes what belongs to no valid attachment of its network, and nothing else", specGC, gcOnlyInvalid},
		{"gc-empty-list", "GC with an empty list, or null, removes every attachment of its network", specGC, gcEmptyList},
		{"gc-netns-gone", "GC frees what a container left behind whose namespace is gone", specGC, gcNetnsGone},
		{"gc-without-list", "GC without cni.dev/valid-attachments removes nothing", specFlock, gcWithoutList},
		{"gc-old-version", "GC is refused in versions before 1.1.0, which have none", specGC, gcOldVersion},
	}
}

// collection is the GC of a network with its valid attachments.
func (w *world) collection(net string, valid ...*pod) call {
	list := []map[string]string{}
	for _, p := range valid {
		list = append(list, map[string]string{"containerID": p.ContainerID, "ifname": p.IfName})
	}
	return call{command: "GC", network: net, edit: func(c config) { c["cni.dev/valid-attachments"] = list }}
}

func gcOnlyInvalid(w *world) {
	kept, foreign := w.newPod(), w.newPodOn(otherNetwork)
	stale := []*pod{w.newPod(), w.newPod()}
	foreigns := w.add(foreign)
	onlyForeign := w.state()
	added := w.add(kept)
	before := w.state()
	for _, p := range stale {
		w.add(p)
	}
	otherIfName := *stale[0] // the container is valid, its interface eth0 is not
	otherIfName.IfName = "net9"
	w.ok("GC", w.collection(network, kept, &otherIfName))
	w.sameHost(before, "after GC")
	w.intact(kept, added, "of a valid attachment after GC")
	w.ok("GC", w.collection(network))
	w.sameHost(onlyForeign, "after GC with an empty list, another network having an attachment")
	w.intact(foreign, foreigns, "of another network's attachment after GC")
}

func gcEmptyList(w *world) {
	pods := []*pod{w.newPod(), w.newPod()}
	before := w.state()
	for what, list := range map[string]any{"an empty list": []any{}, "null": nil} {
		for _, p := range pods {
			w.add(p)
		}
		w.ok("GC with "+what, call{command: "GC", edit: func(c config) { c["cni.dev/valid-attachments"] = list }})
		w.sameHost(before, "after GC with "+what)
		for _, p := range pods {
			w.del(p, nil)
		}
		w.same(before, "after DEL")
	}
}

func gcNetnsGone(w *world) {
	kept := w.newPod()
	w.add(kept)
	before := w.state()
	gone := w.newPod()
	w.add(gone)
	w.drop(gone)
	w.ok("GC", w.collection(network, kept))
	w.sameHost(before, "after GC of a container whose namespace is gone")
}

func gcWithoutList(w *world) {
	p := w.newPod()
	w.add(p)
	before := w.state()
	w.send(call{command: "GC"})
	w.same(before, "after GC without a list")
	for what, list := range map[string]any{
		"a string": "all", "an attachment without a name": []any{map[string]any{}}, "misspelt keys": []any{map[string]any{"container_id": p.ContainerID, "interface": p.IfName}},
	} {
		w.refused("GC whose list is "+what, call{command: "GC", edit: func(c config) { c["cni.dev/valid-attachments"] = list }})
		w.same(before, "after GC whose list is "+what)
	}
}

func gcOldVersion(w *world) {
	p := w.newPod()
	w.add(p)
	before := w.state()
	for _, version := range w.older() {
		c := w.collection(network)
		c.version = version
		w.refused("GC of version "+version, c, 1)
	}
	w.same(before, "after refused GCs")
}

// older returns the plugin's versions that have no GC and no STATUS.
func (w *world) older() []string { return slices.DeleteFunc(slices.Clone(w.versions), hasGC) }

func statusRules(p Plugin, versions []string) []rule {
	rules := []rule{
		{"status-ready", "STATUS succeeds where ADD would, before and after one", specStatus, statusReady},
		{"status-old-version", "STATUS is refused in versions before 1.1.0, which have none", specStatus, statusOldVersion},
	}
	for _, u := range p.Unready {
		rules = append(rules, rule{"status-reports/" + u.Name, "STATUS fails with code 50 when ADD would fail, 51 when containers may be cut off", specStatus,
			func(w *world) { statusReports(w, u) }})
	}
	return rules
}

func statusReady(w *world) {
	before := w.state()
	w.ok("STATUS", call{command: "STATUS"})
	w.same(before, "after STATUS")
	w.add(w.newPod())
	w.ok("STATUS after ADD", call{command: "STATUS"})
}

func statusOldVersion(w *world) {
	for _, version := range w.older() {
		w.refused("STATUS of version "+version, call{command: "STATUS", version: version}, 1)
	}
}

// statusReports also wants DEL to work: STATUS keeps no runtime from other requests.
func statusReports(w *world, u Unready) {
	p := w.newPod()
	added := w.add(p)
	if u.Do != nil {
		w.hook("Unready "+u.Name, func() error { return u.Do(w.Host()) })
	}
	status := call{command: "STATUS"}
	if u.Conf != nil {
		status.edit = func(c config) { u.Conf(w.plugin.own(c)) }
	}
	w.refused("STATUS while "+u.Name, status, u.Code)
	w.del(p, added)
}
