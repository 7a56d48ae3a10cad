// SPDX-License-Identifier: Apache-2.0

package cnitest

import "slices"

// Where rules are written.
const (
	specConf    = "CNI 1.1.0 section 1, plugin configuration objects"
	specParams  = "CNI 1.1.0 section 2, Parameters"
	specErrors  = "CNI 1.1.0 section 2, Errors; section 5, Error"
	specAdd     = "CNI 1.1.0 section 2, ADD"
	specDel     = "CNI 1.1.0 section 2, DEL"
	specCheck   = "CNI 1.1.0 section 2, CHECK"
	specGC      = "CNI 1.1.0 section 2, GC"
	specStatus  = "CNI 1.1.0 section 2, STATUS"
	specVersion = "CNI 1.1.0 section 5, VERSION Success"
	specResult  = "CNI 1.1.0 section 5, ADD Success"
	specIPAM    = "CNI 1.1.0 section 5, Delegated plugins (IPAM)"
	specFlock   = "flock, beyond CNI 1.1.0"
)

// rulesFor returns the rules that apply to a plugin of that position and those versions.
func rulesFor(p Plugin, versions []string) []rule {
	rules := slices.Concat(outputRules(p), addRules(p), delRules())
	if slices.ContainsFunc(versions, hasCheck) {
		rules = append(rules, checkRules(p, versions)...)
	}
	if slices.Contains(versions, "1.1.0") {
		rules = slices.Concat(rules, gcRules(), statusRules(p, versions))
	}
	return slices.Concat(rules, inputRules(p), stressRules(versions))
}

// hasCheck tells whether the version has CHECK, and a prevResult in DEL.
func hasCheck(version string) bool { return version >= "0.4.0" }

// hasGC tells whether the version has GC and STATUS.
func hasGC(version string) bool { return version >= "1.1.0" }

func outputRules(p Plugin) []rule {
	return []rule{
		{"versions", "VERSION lists each version that the plugin must support", specVersion, func(w *world) { versions(w, p.Versions) }},
		{"stdout-pure", "stdout holds the result or the error as one JSON object, and nothing else", specErrors, stdoutPure},
		{"unknown-command", "a CNI_COMMAND that does not exist is refused with code 4", specErrors, unknownCommand},
		{"missing-variables", "a request without a required variable is refused with code 4", specParams, missingVariables},
	}
}

func versions(w *world, want []string) {
	r := w.ok("VERSION", call{command: "VERSION", stdin: []byte(`{"cniVersion":"1.0.0"}`)})
	for _, v := range want {
		if !slices.Contains(w.versions, v) {
			w.broken("%s is not supported\n%v", v, r)
		}
	}
}

// stdoutPure runs each verb once in success and once in failure; send looks at stdout.
func stdoutPure(w *world) {
	p := w.newPod()
	added := w.add(p)
	if hasCheck(w.newest()) {
		w.send(call{command: "CHECK", pod: p, prev: added})
	}
	if hasGC(w.newest()) {
		w.send(w.collection(network, p))
		w.send(call{command: "STATUS"})
	}
	w.del(p, added)
	for _, verb := range []string{"ADD", "DEL", "CHECK", "GC", "STATUS"} {
		w.refused(verb+" with half a configuration", call{command: verb, pod: p, stdin: []byte(`{"cniVersion":`)})
	}
}

func unknownCommand(w *world) {
	w.refused("CNI_COMMAND=FROB", call{command: "FROB", pod: w.newPod()}, 4)
}

func missingVariables(w *world) {
	p := w.newPod()
	required := map[string][]string{
		"ADD":   {"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"},
		"DEL":   {"CNI_CONTAINERID", "CNI_IFNAME"},
		"CHECK": {"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"},
	}
	before := w.state()
	for verb, variables := range required {
		for _, name := range variables {
			c := w.adding(p)
			c.command, c.env = verb, []string{name + "="}
			w.refused(verb+" without "+name, c, 4)
		}
	}
	w.same(before, "after requests without their variables")
}
