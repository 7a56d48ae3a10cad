// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"flock.fritzlab.net/flock/internal/hosttest"
	"flock.fritzlab.net/flock/plugins/cni/cnitest"
)

func TestConformance(t *testing.T) {
	cnitest.Run(t, cnitest.Plugin{
		Binary:     hosttest.Binary(t, stage),
		Stands:     cnitest.Chained,
		Conf:       func(dir string) map[string]any { return map[string]any{"stateDir": dir} },
		PrevResult: hosttest.Attach,
		Observe:    hosttest.Claims(stage),
		Versions:   []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"},
		Break: []cnitest.Difference{
			{Name: "IPv6 route gone", Do: hosttest.Damage("-6 route del 2001:db8::%d proto 72"), Want: "2001:db8::"},
			{Name: "IPv4 route gone", Do: hosttest.Damage("route del 10.0.0.%d proto 72"), Want: "10.0.0."},
			{Name: "anycast route gone", Do: hosttest.Damage("-6 route del 2001:db8:a::%d proto 72"), Want: "2001:db8:a::"},
			{Name: "route to another link", Do: hosttest.Damage("route replace 10.0.0.%d dev lo proto 72 metric 16"), Want: "10.0.0."},
			{Name: "link gone", Do: hosttest.Damage("link del host%d"), Want: "host"},
			{Name: "link replaced", Do: hosttest.Relink, Want: "link"},
			{Name: "claim gone", Do: hosttest.Forget(stage), Want: "store"},
		},
		Unready: []cnitest.Unready{{Name: "no state folder", Code: 50, Conf: hosttest.NoStateDir}},
	})
}
