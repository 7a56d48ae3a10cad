// SPDX-License-Identifier: Apache-2.0

// Package config reads flock-ipam's configuration: which of its two places it stands in, and where its
// pools come from.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"flock.fritzlab.net/flock/api/v1alpha1/annotation"
	"flock.fritzlab.net/flock/internal/lookup"
	"flock.fritzlab.net/flock/internal/nodefile"
	"flock.fritzlab.net/flock/internal/pool"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// Name is the executable's name, by which the configuration tells where it stands.
const Name = "flock-ipam"

// FlockVeth is the main plugin that is flock's own.
const FlockVeth = "flock-veth"

// Form is the form of the result, which follows from the plugin's place.
type Form string

const (
	// Originating: first in the chain. Host routes, and the gateways that flock-veth answers for.
	Originating Form = "originating"
	// OnLink: delegated to by a main plugin that leaves the pod on a link without a gateway.
	OnLink Form = "onlink"
	// Subnet: delegated to by a main plugin that takes the pool's gateway for itself.
	Subnet Form = "subnet"
)

// Config is the plugin's configuration. The pools behind it are read by [Config.Node] alone, so that a
// mistake in them keeps no pod from being deleted.
type Config struct {
	Form     Form
	StateDir string
	Socket   string

	nodeFile string
	written  written
}

// written is the configuration as the user writes it.
type written struct {
	StateDir string      `json:"stateDir"`
	Pools    []pool.Spec `json:"pools"`
	NodeFile string      `json:"nodeFile"`
	Socket   string      `json:"socket"`
	CoolDown string      `json:"coolDown"`
	IPAlgo   []string    `json:"ipAlgo"`
	Profile  Form        `json:"profile"`
}

// Parse tells the plugin's place by the request and reads its keys, an unknown one being an error.
func Parse(in cni.Input) (Config, error) {
	c := Config{Form: Originating, StateDir: store.DefaultDir, Socket: lookup.DefaultSocket, nodeFile: nodefile.DefaultPath}
	var err error
	switch {
	case in.Type == Name:
		err = c.readOriginating(in)
	case in.IPAMType == Name:
		err = c.readDelegated(in)
	default:
		err = fmt.Errorf("%q is the plugin's type, and %q that of its ipam: want %s in one of the two places", in.Type, in.IPAMType, Name)
	}
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration of %s: %w", Name, err)
	}
	return c, c.setPaths()
}

func (c *Config) readOriginating(in cni.Input) error {
	if in.IPAM != nil {
		return errors.New("it has an ipam section, which a main plugin has: put the keys beside the type")
	}
	if err := cni.Strict(in.Own, &c.written); err != nil {
		return err
	}
	if c.written.Profile != "" {
		return errors.New("profile is set, which is for the ipam section of a main plugin: remove it")
	}
	return nil
}

func (c *Config) readDelegated(in cni.Input) error {
	section := struct {
		Type string `json:"type"`
		*written
	}{written: &c.written}
	if err := cni.Strict(in.IPAM, &section); err != nil {
		return fmt.Errorf("ipam section: %w", err)
	}
	switch c.written.Profile {
	case OnLink, Subnet:
		c.Form = c.written.Profile
		return nil
	case "":
		var err error
		c.Form, err = formFor(in)
		return err
	}
	return fmt.Errorf("ipam section: profile %q: want %q or %q", c.written.Profile, OnLink, Subnet)
}

// formFor returns the form that suits the main plugin; one that is not known here is taken to be used
// to host-local.
func formFor(in cni.Input) (Form, error) {
	switch in.Type {
	case "macvlan", "ipvlan", FlockVeth:
		return OnLink, nil
	case "bridge":
		var bridge struct{ IsGateway, IsDefaultGateway bool }
		if err := json.Unmarshal(in.Own, &bridge); err != nil {
			return "", fmt.Errorf("bridge: %w", err)
		}
		if !bridge.IsGateway && !bridge.IsDefaultGateway {
			return OnLink, nil
		}
	}
	return Subnet, nil
}

func (c *Config) setPaths() error {
	return errors.Join(
		setPath(&c.StateDir, "stateDir", c.written.StateDir),
		setPath(&c.Socket, "socket", c.written.Socket),
		setPath(&c.nodeFile, "nodeFile", c.written.NodeFile),
	)
}

func setPath(path *string, key, written string) error {
	if written == "" {
		return nil
	}
	if !filepath.IsAbs(written) {
		return fmt.Errorf("read the configuration of %s: %s %.100q is no absolute path", Name, key, written)
	}
	*path = written
	return nil
}

// Delegated tells whether a main plugin calls.
func (c Config) Delegated() bool { return c.Form != Originating }

// Node returns the pools and what pods get that do not say. Where the configuration has pools of its
// own, the node's file counts only if the configuration names it. An error wraps [fs.ErrNotExist] where
// the file is missing.
func (c Config) Node() (nodefile.Node, error) {
	node := nodefile.Node{CoolDown: nodefile.DefaultCoolDown}
	var err error
	if c.written.NodeFile != "" || c.written.Pools == nil {
		if node, err = nodefile.Read(c.nodeFile); err != nil {
			return nodefile.Node{}, err
		}
	}
	if err := c.override(&node); err != nil {
		return nodefile.Node{}, fmt.Errorf("read the configuration of %s: %w", Name, err)
	}
	return node, nil
}

func (c Config) override(node *nodefile.Node) (err error) {
	if c.written.Pools != nil {
		if len(c.written.Pools) == 0 {
			return errors.New("pools is empty: add one, or remove the key to use those of the node")
		}
		if node.Pools, err = pool.Parse(c.written.Pools); err != nil {
			return err
		}
		if i := slices.IndexFunc(node.Pools, pool.Pool.External); i >= 0 {
			return fmt.Errorf("pool %s: allocator %q is an extension, and ipamd serves only the pools of the node: put the pool there, or write random or sequential",
				node.Pools[i].Name, node.Pools[i].Allocator)
		}
	}
	if c.written.IPAlgo != nil {
		if node.Defaults.IPAlgo, err = annotation.ParseFields(c.written.IPAlgo); err != nil {
			return fmt.Errorf("ipAlgo: %w", err)
		}
	}
	if c.written.CoolDown != "" {
		if node.CoolDown, err = nodefile.ParseCoolDown(c.written.CoolDown); err != nil {
			return fmt.Errorf("coolDown: %w", err)
		}
	}
	return nil
}
