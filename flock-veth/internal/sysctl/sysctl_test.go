// SPDX-License-Identifier: Apache-2.0

package sysctl

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/test/lab"
)

func TestSysctl(t *testing.T) {
	ns, err := lab.NewNetns(fmt.Sprintf("flt-sysctl-%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Delete(); err != nil {
			t.Error(err)
		}
	})
	if err := ns.Do(func() error { return use(t, Link("lo", "accept_ra")) }); err != nil {
		t.Error(err)
	}
}

func use(t *testing.T, key string) error {
	for _, step := range []struct {
		do   func() error
		want string
	}{
		{func() error { return Set(key, "2") }, "2"},
		{func() error { return Replace(key, "1", "0") }, "2"},
		{func() error { return Replace(key, "2", "0") }, "0"},
		{func() error { return Ensure(key, "1") }, "1"},
		{func() error { return Ensure(key, "1") }, "1"},
	} {
		if err := step.do(); err != nil {
			return err
		}
		if got, err := Get(key); got != step.want || err != nil {
			t.Errorf("%s is %q (%v), want %s", key, got, err, step.want)
		}
	}
	if err := Set(key, "many"); !errors.Is(err, unix.EINVAL) {
		t.Errorf("Set to a word = %v, want EINVAL", err)
	}
	for _, err := range []error{Set("ipv4/absent", "1"), Replace("ipv4/absent", "1", "2"), Ensure("ipv4/absent", "1")} {
		if !errors.Is(err, unix.ENOENT) {
			t.Errorf("an absent key: %v, want ENOENT", err)
		}
	}
	return nil
}
