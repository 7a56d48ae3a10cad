// SPDX-License-Identifier: Apache-2.0

// Package nodefile reads and writes node.json, which tells flock-ipam the node's pools and defaults, and
// flock-veth its MTU:
//
//	{
//	  "pools": ["2001:db8:1::/64", {"name": "v4", "cidr": "10.1.0.0/24", "reserved": ["10.1.0.2-10.1.0.9"]}],
//	  "defaults": {"ipv4": false, "ipAlgo": ["namespace", "pod"], "coolDown": "5m"},
//	  "mtu": 9000
//	}
//
// ipamd writes it from the node's NodeConfig; where there is no Kubernetes, a person does.
package nodefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"flock.fritzlab.net/flock/api/v1alpha1/annotation"
	"flock.fritzlab.net/flock/internal/pool"
)

// DefaultPath is where the file is unless "nodeFile" says otherwise.
const DefaultPath = "/var/lib/flock/node.json"

// DefaultCoolDown is how long a released address is not given out again unless something else is said.
const DefaultCoolDown = 120 * time.Second

// Spec is the file as it is written.
type Spec struct {
	Pools    []pool.Spec  `json:"pools"`
	Defaults DefaultsSpec `json:"defaults,omitzero"`
	// MTU of the pods' interfaces in bytes; 0 leaves it to flock-veth.
	MTU int `json:"mtu,omitempty"`
}

// DefaultsSpec is what pods get that do not say; absent keys are left to what is built in.
type DefaultsSpec struct {
	IPv6 *bool `json:"ipv6,omitempty"`
	IPv4 *bool `json:"ipv4,omitempty"`
	// IPAlgo lists identity fields: namespace, pod, image.
	IPAlgo []string `json:"ipAlgo,omitempty"`
	// CoolDown is a duration such as "120s".
	CoolDown string `json:"coolDown,omitempty"`
}

// Node is the file's content, checked.
type Node struct {
	Pools    []pool.Pool
	Defaults annotation.Defaults
	CoolDown time.Duration
	MTU      int
}

// Parse checks a file's content.
func (s Spec) Parse() (Node, error) {
	node := Node{Defaults: annotation.Defaults{IPv6: s.Defaults.IPv6, IPv4: s.Defaults.IPv4}, MTU: s.MTU}
	var err error
	if s.MTU != 0 && (s.MTU < minMTU || s.MTU > maxMTU) {
		return Node{}, fmt.Errorf("parse mtu: %d is not between %d and %d", s.MTU, minMTU, maxMTU)
	}
	if node.Pools, err = pool.Parse(s.Pools); err != nil {
		return Node{}, err
	}
	if off(s.Defaults.IPv6) && off(s.Defaults.IPv4) {
		return Node{}, errors.New("parse defaults: ipv6 and ipv4 are both false, which leaves pods without an address: remove one")
	}
	if s.Defaults.IPAlgo != nil {
		if node.Defaults.IPAlgo, err = annotation.ParseFields(s.Defaults.IPAlgo); err != nil {
			return Node{}, fmt.Errorf("parse defaults.ipAlgo: %w", err)
		}
	}
	if node.CoolDown, err = ParseCoolDown(s.Defaults.CoolDown); err != nil {
		return Node{}, fmt.Errorf("parse defaults.coolDown: %w", err)
	}
	return node, nil
}

// IPv6 needs the one, and a link takes no more than the other.
const (
	minMTU = 1280
	maxMTU = 65535
)

func off(choice *bool) bool { return choice != nil && !*choice }

// ParseCoolDown reads a duration such as "120s"; an empty text is [DefaultCoolDown].
func ParseCoolDown(text string) (time.Duration, error) {
	if text == "" {
		return DefaultCoolDown, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%.100q is no cool-down: write a duration such as \"120s\", or \"0s\" for none", text)
	}
	return d, nil
}

// Read returns the file's content. Its error names the file and what to do; it wraps [fs.ErrNotExist]
// where there is no file.
func Read(path string) (Node, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Node{}, fmt.Errorf("read the node's pools: %w: give the node a NodeConfig and run ipamd, write the file, or configure \"pools\"", err)
	}
	if err != nil {
		return Node{}, fmt.Errorf("read the node's pools: %w", err)
	}
	spec, err := decode(raw)
	if err != nil {
		return Node{}, fmt.Errorf("read the node's pools: decode %s: %w: correct the file", path, err)
	}
	node, err := spec.Parse()
	if err != nil {
		return Node{}, fmt.Errorf("read the node's pools: %s: %w", path, err)
	}
	return node, nil
}

func decode(raw []byte) (Spec, error) {
	var spec Spec
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&spec); err != nil {
		return Spec{}, errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := dec.Token(); err != io.EOF {
		return Spec{}, errors.New("more than one JSON value")
	}
	return spec, nil
}

// Write checks the content and replaces the file with it in one step, making its folder when it is
// missing: a reader sees the old content or the new, also after a crash.
func Write(path string, spec Spec) error {
	if _, err := spec.Parse(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	raw, err := json.MarshalIndent(spec, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := replace(path, append(raw, '\n')); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func replace(path string, content []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // gone already after the rename
	_, err = temp.Write(content)
	err = errors.Join(err, temp.Chmod(0o644), temp.Sync(), temp.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a rename in the folder last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
