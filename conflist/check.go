// SPDX-License-Identifier: Apache-2.0

package conflist

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"flock.fritzlab.net/flock/api/v1alpha1/annotation"
	"flock.fritzlab.net/flock/internal/pool"
)

func (o Options) check() error {
	return errors.Join(o.checkStages(), o.IPAM.check(), o.checkRest())
}

// checkStages wants the chain in its order, and whole but for its end: without flock-route the
// allocation stays pending and is taken back, without the first two there is no attachment.
func (o Options) checkStages() error {
	for _, stage := range o.Stages {
		if !slices.Contains(Stages, stage) {
			return fmt.Errorf("stage %q is none of %q", stage, Stages)
		}
	}
	if n := len(o.Stages); n < len(Stages)-1 || n > len(Stages) || !slices.Equal(o.Stages, Stages[:n]) {
		return fmt.Errorf("stages %q: only the last of %q can be left out", o.Stages, Stages)
	}
	return nil
}

func (o Options) checkRest() error {
	var errs []error
	if mtu := o.Veth.MTU; mtu != 0 && (mtu < 1280 || mtu > 65535) {
		errs = append(errs, fmt.Errorf("mtu %d: IPv6 needs 1280, and 65535 is the most", mtu))
	}
	if o.Route.Metric < 0 {
		errs = append(errs, fmt.Errorf("metric %d is negative", o.Route.Metric))
	}
	if table := o.Bird.Table; table < 0 || slices.Contains(reservedTables, table) && table != 0 {
		errs = append(errs, fmt.Errorf("table %d is the kernel's own", table))
	}
	if mode := o.Bird.Anycast; mode != "" && mode != "ready" && mode != "immediate" {
		errs = append(errs, fmt.Errorf("anycast %q is neither ready nor immediate", mode))
	}
	return errors.Join(errs...)
}

// reservedTables are unspec, compat, default, main and local (linux/rtnetlink.h).
var reservedTables = []int{0, 252, 253, 254, 255}

func (c IPAM) check() error {
	_, err := pool.Parse(c.Pools)
	errs := []error{err}
	if c.CoolDown != "" {
		if d, err := time.ParseDuration(c.CoolDown); err != nil || d < 0 {
			errs = append(errs, fmt.Errorf("coolDown %q is no duration such as 120s", c.CoolDown))
		}
	}
	if len(c.IPAlgo) > 0 {
		if _, err := annotation.ParseFields(c.IPAlgo); err != nil {
			errs = append(errs, fmt.Errorf("ipAlgo %w", err))
		}
	}
	return errors.Join(errs...)
}
