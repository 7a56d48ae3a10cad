// SPDX-License-Identifier: Apache-2.0

package main

import "flock.fritzlab.net/flock/conflist"

// limits holds what was measured against what flock promises. What was to be measured and was not is a miss.
func (r *report) limits() []limit {
	var list []limit
	for _, part := range []struct {
		name   string
		limits func() []limit
	}{
		{partAttach, r.attachLimits}, {partStarts, r.startLimits}, {partAnnounce, r.announceLimits}, {partReady, r.readyLimits},
	} {
		if r.Plan.has(part.name) {
			list = append(list, part.limits()...)
		}
	}
	return list
}

func (r *report) attachLimits() []limit {
	few, many := r.Plan.Few, r.Plan.Many
	add := func(name string, existing int) float64 { return r.p50(key{name, existing, 1, "ADD"}) }
	del := func(name string, existing int) float64 { return r.p50(key{name, existing, 1, "DEL"}) }
	return []limit{
		ratio("ADD, flock dual-stack / ptp IPv4-only", add(flockName, few), add(ptp4Name, few), 1.1),
		ratio("ADD, flock dual-stack / ptp dual-stack", add(flockName, few), add(ptp64Name, few), 0.02),
		ratio("DEL, flock dual-stack / ptp IPv4-only", del(flockName, few), del(ptp4Name, few), 1.2),
		ratio("ADD, flock with 5,000 / with 10 attachments", add(flockName, many), add(flockName, few), 1.2),
	}
}

func (r *report) startLimits() (list []limit) {
	start := func(name string) float64 { return r.p50(key{Subject: name, Parallel: 1, Verb: "start"}) }
	for _, stage := range conflist.Stages {
		list = append(list,
			ratio("start, "+stage+" / skel and netlink alone", start(stage), start(baseline), 1.3),
			ratio("size of "+stage+" in MB", float64(r.Sizes[stage]), 1e6, 4.5))
	}
	return list
}

func (r *report) announceLimits() (list []limit) {
	for _, verb := range []string{"announce", "withdraw"} {
		took := r.p50(key{Subject: "fixed address", Parallel: 1, Verb: verb})
		list = append(list, ratio(verb+", node's kernel to router's kernel in ms", took, 1, 5))
	}
	return list
}

func ratio(what string, value, base, most float64) limit {
	l := limit{What: what, Limit: most}
	if base > 0 {
		l.Value = value / base
	}
	l.OK = l.Value > 0 && l.Value <= most
	return l
}
