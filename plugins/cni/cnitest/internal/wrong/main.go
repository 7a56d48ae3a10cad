// SPDX-License-Identifier: Apache-2.0

// Command wrong is a CNI plugin that breaks one rule: the one that the name it is run under stands for.
// Under the name "right" it breaks none. The conformance suite is tested with it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"flock.fritzlab.net/flock/plugins/cni"
)

// is tells whether the plugin has the fault.
func is(fault string) bool { return filepath.Base(os.Args[0]) == fault }

func main() {
	verb := os.Getenv("CNI_COMMAND")
	switch {
	case is("says-yes") && verb != "ADD" && verb != "VERSION":
		return
	case is("adds-anything") && verb == "ADD":
		printResult(1)
	case is("points-nowhere") && verb == "ADD":
		printResult(0)
	case is("crashes"):
		os.Stdin = checkedStdin()
	case is("records-first") && verb == "ADD":
		os.Stdin = recordedStdin()
	case is("needs-no-list") && verb == "GC":
		collectUnasked()
		return
	}
	plugin().Main()
}

// printResult prints a result past the frame, whose address belongs to the only one of n interfaces.
func printResult(n int) {
	result := current.Result{IPs: []*current.IPConfig{{Address: address(1), Interface: current.Int(0)}}}
	for range n {
		result.Interfaces = append(result.Interfaces, &current.Interface{Name: "eth0", Sandbox: os.Getenv("CNI_NETNS")})
	}
	result.CNIVersion = "1.1.0"
	result.Print()
	os.Exit(0)
}

func checkedStdin() *os.File {
	in, _ := io.ReadAll(os.Stdin)
	if !json.Valid(in) {
		panic("cannot read this")
	}
	return refill(in)
}

func recordedStdin() *os.File {
	in, _ := io.ReadAll(os.Stdin)
	var c config
	if json.Unmarshal(in, &c); c.Dir != "" {
		os.WriteFile(filepath.Join(c.Dir, "first"), nil, 0o600)
	}
	return refill(in)
}

// collectUnasked takes the absence of a list for an empty one.
func collectUnasked() {
	var c struct {
		config
		Valid []any `json:"cni.dev/valid-attachments"`
	}
	json.NewDecoder(os.Stdin).Decode(&c)
	if s := (store{c.Dir}); len(c.Valid) == 0 {
		for _, a := range s.all() {
			s.remove(a)
		}
	}
}

func refill(in []byte) *os.File {
	r, w, _ := os.Pipe()
	go func() {
		w.Write(in)
		w.Close()
	}()
	return r
}

type config struct {
	Dir  string `json:"dir"`
	Type string `json:"type"` // where the section is "ipam"
}

func plugin() cni.Plugin[config] {
	return cni.Plugin[config]{Name: "wrong", Parse: parse, Add: add, Del: del, Check: check, GC: gc, Status: status}
}

func parse(in cni.Input) (config, error) {
	var c config
	section := in.Own
	if in.IPAM != nil {
		section = in.IPAM
	}
	if is("knows-no-cni") && strings.Contains(string(in.Raw), "cni.dev/") {
		return c, errors.New("what is cni.dev?")
	}
	if is("lenient") {
		json.Unmarshal(section, &c)
		if !filepath.IsAbs(c.Dir) {
			c.Dir = filepath.Dir(os.Args[0]) // it makes do with anything, but must not litter the working directory
		}
		return c, nil
	}
	if err := cni.Strict(section, &c); err != nil {
		return c, err
	}
	if !filepath.IsAbs(c.Dir) {
		return c, fmt.Errorf("dir %q is no absolute path", c.Dir)
	}
	return c, nil
}

func add(_ context.Context, r *cni.Request[config]) (*current.Result, error) {
	if is("prints") {
		os.NewFile(1, "stdout").WriteString("adding\n")
	}
	s := store{r.Conf.Dir}
	if !is("races") {
		defer s.lock()()
	}
	if is("only-once") && s.buried(r.Attachment) {
		return nil, errors.New("it was here before")
	}
	rec, ok := s.load(r.Attachment)
	if ok && rec.MAC != "" && !is("another-address") {
		return rec.result(r), nil
	}
	if is("leaves-drafts") {
		defer s.draft()()
	}
	if !ok || is("another-address") {
		rec.Address = s.free()
	}
	if is("races") {
		time.Sleep(50 * time.Millisecond) // so that it always loses
	}
	// First the record, so that GC finds what comes after it.
	if err := s.save(r.Attachment, rec); err != nil {
		return nil, cni.Wrap(types.ErrIOFailure, err)
	}
	if err := makeLink(r, &rec); err != nil {
		s.remove(r.Attachment)
		return nil, err
	}
	return rec.result(r), cni.Wrap(types.ErrIOFailure, s.save(r.Attachment, rec))
}

func del(_ context.Context, r *cni.Request[config]) error {
	s := store{r.Conf.Dir}
	defer s.lock()()
	switch {
	case is("needs-prevresult") && r.PrevResult == nil:
		return errors.New("no prevResult")
	case is("hangs") && r.PrevResult == nil:
		time.Sleep(time.Hour)
	case is("needs-netns") && r.Netns == "":
		return errors.New("no namespace")
	case is("needs-add") && !s.has(r.Attachment):
		return errors.New("never added")
	case is("trusts-path"):
		return deleteIn(os.Getenv("CNI_NETNS"), r.Attachment.IfName)
	case is("same-version") && r.CNIVersion != s.version(r.Attachment):
		return errors.New("another version")
	}
	if is("deletes-container") {
		s.removeMatching(r.Attachment.ContainerID)
	}
	if is("forgets-first") && !s.has(r.Attachment) {
		return nil
	}
	if !is("leaks") {
		s.remove(r.Attachment)
	}
	if is("forgets-first") {
		time.Sleep(50 * time.Millisecond) // so that it is always killed here
	}
	return deleteIn("", hostName(r.Attachment))
}

func check(_ context.Context, r *cni.Request[config]) error {
	switch {
	case is("checks-nothing"):
		return nil
	case is("finds-ghosts"):
		return errors.New("there is a ghost")
	case r.PrevResult == nil || len(r.PrevResult.IPs) == 0:
		return errors.New("no prevResult")
	}
	rec, ok := store{r.Conf.Dir}.load(r.Attachment)
	if want := address(rec.Address); !ok || r.PrevResult.IPs[0].Address.String() != want.String() {
		return cni.Wrap(cni.CodeCheckMismatch, fmt.Errorf("compare record of %s: not the address of prevResult", r.Attachment.ContainerID))
	}
	return checkLink(r)
}

func gc(_ context.Context, r *cni.GCRequest[config]) error {
	if is("collects-nothing") {
		return nil
	}
	s := store{r.Conf.Dir}
	defer s.lock()()
	for _, a := range s.all() {
		if !r.Valid(a) || is("collects-all") {
			s.remove(a)
			deleteIn("", hostName(a))
		}
	}
	return nil
}

func status(_ context.Context, r *cni.StatusRequest[config]) error {
	if _, err := os.Stat(r.Conf.Dir); is("never-ready") || err != nil && !is("always-ready") {
		return cni.Wrap(types.ErrPluginNotAvailable, fmt.Errorf("look at %s: %w", r.Conf.Dir, errors.Join(err)))
	}
	return nil
}
