// SPDX-License-Identifier: Apache-2.0

// Command addressbook is a small chained CNI plugin, the example of docs/writing-a-plugin.md. It keeps
// a file for each attachment, with the addresses that the plugins before it gave.
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

// config is what the user writes.
type config struct {
	Dir string `json:"dir"`
}

func main() {
	cni.Plugin[config]{
		Name: "addressbook", Parse: parse, Add: add, Del: del, Check: check, GC: gc, Status: status,
	}.Main()
}

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

// file returns the attachment's file. None of the names can hold a colon or a slash.
func (c config) file(a cni.Attachment) string {
	return filepath.Join(c.Dir, a.Network+":"+a.ContainerID+":"+a.IfName)
}

// page returns what the file of an attachment with that prevResult holds.
func page(in cni.Input) (string, error) {
	prev, err := in.RequirePrevResult("addressbook")
	if err != nil {
		return "", err
	}
	unicast, anycast, err := cni.Addresses(prev)
	return fmt.Sprintln(unicast, anycast), err
}

func add(_ context.Context, r *cni.Request[config]) (*current.Result, error) {
	text, err := page(r.Input)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(r.Conf.file(r.Attachment), []byte(text), 0o644); err != nil {
		return nil, cni.Wrap(types.ErrIOFailure, err)
	}
	return r.PrevResult, nil
}

func del(_ context.Context, r *cni.Request[config]) error {
	return r.Conf.remove(r.Attachment)
}

func (c config) remove(a cni.Attachment) error {
	if err := os.Remove(c.file(a)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return cni.Wrap(types.ErrIOFailure, err)
	}
	return nil
}

func check(_ context.Context, r *cni.Request[config]) error {
	want, err := page(r.Input)
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
	files, err := os.ReadDir(r.Conf.Dir)
	errs := []error{err}
	for _, file := range files {
		parts := strings.Split(file.Name(), ":")
		if len(parts) != 3 {
			continue
		}
		a := cni.Attachment{Network: parts[0], ContainerID: parts[1], IfName: parts[2]}
		if !r.Valid(a) {
			errs = append(errs, r.Conf.remove(a))
		}
	}
	return cni.Wrap(types.ErrIOFailure, errors.Join(errs...))
}

func status(_ context.Context, r *cni.StatusRequest[config]) error {
	_, err := os.ReadDir(r.Conf.Dir)
	return cni.Wrap(types.ErrPluginNotAvailable, err)
}
