// SPDX-License-Identifier: Apache-2.0

// Command addressbook is a small chained CNI plugin, the example of docs/writing-a-plugin.md. It keeps
// one file for each attachment, with the addresses that the plugins before it gave.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"flock.fritzlab.net/flock/plugins/cni"
)

// config is what the user writes. An unknown key is refused.
type config struct {
	Dir string `json:"dir"`
}

var plugin = cni.Plugin[config]{
	Name: "addressbook", Parse: parse, Add: add, Del: del, Check: check, GC: gc, Status: status,
}

func main() { plugin.Main() }

func parse(in cni.Input) (config, error) {
	var c config
	if err := cni.Strict(in.Own, &c); err != nil {
		return c, err
	}
	if !filepath.IsAbs(c.Dir) {
		return c, fmt.Errorf("key \"dir\": %q is no absolute path", c.Dir)
	}
	return c, nil
}

// file returns the attachment's file. Neither name can hold a colon, and none a slash.
func (c config) file(a cni.Attachment) string {
	return filepath.Join(c.Dir, a.Network, a.ContainerID+":"+a.IfName)
}

func page(r *current.Result) (string, error) {
	unicast, anycast, err := cni.Addresses(r)
	return fmt.Sprintln(unicast, anycast), err
}

func add(_ context.Context, r *cni.Request[config]) (*current.Result, error) {
	prev, err := r.RequirePrevResult("addressbook")
	if err != nil {
		return nil, err
	}
	text, err := page(prev)
	if err != nil {
		return nil, cni.Wrap(types.ErrInvalidNetworkConfig, err)
	}
	file := r.Conf.file(r.Attachment)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, cni.Wrap(types.ErrIOFailure, err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return nil, cni.Wrap(types.ErrIOFailure, err)
	}
	return prev, nil
}

// del needs nothing but the names: prevResult may be absent, and the namespace gone.
func del(_ context.Context, r *cni.Request[config]) error {
	return remove(r.Conf.file(r.Attachment))
}

func remove(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return cni.Wrap(types.ErrIOFailure, err)
	}
	return nil
}

func check(_ context.Context, r *cni.Request[config]) error {
	prev, err := r.RequirePrevResult("addressbook")
	if err != nil {
		return err
	}
	want, err := page(prev)
	if err != nil {
		return err
	}
	got, err := os.ReadFile(r.Conf.file(r.Attachment))
	if err == nil && string(got) != want {
		err = fmt.Errorf("compare %s: it says %q, prevResult %q", r.Conf.file(r.Attachment), got, want)
	}
	return cni.Wrap(cni.CodeCheckMismatch, err)
}

func gc(_ context.Context, r *cni.GCRequest[config]) error {
	files, err := os.ReadDir(filepath.Join(r.Conf.Dir, r.Network))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return cni.Wrap(types.ErrIOFailure, err)
	}
	var errs []error
	for _, file := range files {
		containerID, ifName, _ := strings.Cut(file.Name(), ":")
		a := cni.Attachment{Network: r.Network, ContainerID: containerID, IfName: ifName}
		if !r.Valid(a) {
			errs = append(errs, remove(r.Conf.file(a)))
		}
	}
	return errors.Join(errs...)
}

func status(_ context.Context, r *cni.StatusRequest[config]) error {
	if info, err := os.Stat(r.Conf.Dir); err != nil || !info.IsDir() {
		return cni.Wrap(types.ErrPluginNotAvailable, fmt.Errorf("open %s: not a directory", r.Conf.Dir))
	}
	return nil
}
