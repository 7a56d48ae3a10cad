// SPDX-License-Identifier: Apache-2.0

package cnitest

import (
	"encoding/json"
	"strings"

	current "github.com/containernetworking/cni/pkg/types/100"
)

func checkRules(p Plugin, versions []string) []rule {
	rules := []rule{
		{"check-after-add", "CHECK succeeds right after ADD, and changes nothing", specCheck, checkAfterAdd},
		{"check-after-del", "CHECK fails after DEL", specCheck, checkAfterDel},
	}
	if p.Stands != Delegated {
		rules = append(rules, rule{"check-without-prevresult", "CHECK consults prevResult, and so refuses without one", specCheck, checkWithoutPrevResult})
	}
	if p.Stands == Originating {
		rules = append(rules, rule{"check-other-address", "CHECK fails when prevResult lists an address that the container has not", specCheck, checkOtherAddress})
	}
	if !hasCheck(versions[0]) {
		rules = append(rules, rule{"check-old-version", "CHECK is refused in versions before 0.4.0, which have none", specCheck, checkOldVersion})
	}
	for _, d := range p.Break {
		rules = append(rules, rule{"check-finds/" + d.Name, "CHECK fails when something of the plugin's is missing or changed", specCheck,
			func(w *world) { checkFinds(w, d) }})
	}
	return rules
}

func checking(p *pod, prev result) call { return call{command: "CHECK", pod: p, prev: prev} }

func checkAfterAdd(w *world) {
	p := w.newPod()
	added := w.add(p)
	before := w.state()
	w.ok("CHECK after ADD", checking(p, added))
	w.ok("CHECK after CHECK", checking(p, added))
	w.same(before, "after CHECK")
}

func checkAfterDel(w *world) {
	p := w.newPod()
	added := w.add(p)
	w.del(p, added)
	w.refused("CHECK after DEL", checking(p, added))
}

func checkWithoutPrevResult(w *world) {
	p := w.newPod()
	w.add(p)
	w.refused("CHECK without prevResult", call{command: "CHECK", pod: p})
}

// checkOtherAddress changes the last bit of each address, so that none is right.
func checkOtherAddress(w *world) {
	p := w.newPod()
	var altered current.Result
	if err := json.Unmarshal(w.add(p), &altered); err != nil {
		w.broken("the result is no JSON: %v", err)
	}
	if len(altered.IPs) == 0 {
		return // nothing to tell of
	}
	for _, ip := range altered.IPs {
		ip.Address.IP[len(ip.Address.IP)-1] ^= 1
	}
	w.refused("CHECK of addresses that the container has not", call{command: "CHECK", pod: p, prev: &altered})
}

func checkOldVersion(w *world) {
	p := w.newPod()
	for _, version := range w.versions {
		if !hasCheck(version) {
			w.refused("CHECK of version "+version, call{command: "CHECK", pod: p, version: version}, 1)
		}
	}
}

// checkFinds also wants DEL to work on what is damaged.
func checkFinds(w *world, d Difference) {
	p := w.newPod()
	added := w.add(p)
	w.ok("CHECK before the damage", checking(p, added))
	w.hook("Break "+d.Name, func() error { return d.Do(w.Host(), p.Attachment) })
	e := w.refused("CHECK after "+d.Name, checking(p, added))
	if text := e.Msg + " " + e.Details; !strings.Contains(text, d.Want) {
		w.broken("CHECK after %s does not mention %q: %s", d.Name, d.Want, text)
	}
	w.del(p, added)
}
