// SPDX-License-Identifier: Apache-2.0

// Package delegate executes the IPAM plugin of a network configuration, as section 4 of the CNI
// specification says. It does what the reference package invoke does for this one purpose, which links
// a tracing library that alone would exceed a stage's budget of size and start-up time.
package delegate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
)

// Plugin is a delegated plugin: the executable that Type names in CNI_PATH, run with this process's
// environment and the main plugin's configuration.
type Plugin struct {
	Type       string
	CNIVersion string
	Config     []byte
}

// ErrNotFound says that there is no plugin of the type.
var ErrNotFound = errors.New("no such plugin")

// Add runs the plugin's ADD and returns its result. After a failure the caller owes the plugin a DEL.
func (p Plugin) Add(ctx context.Context) (*current.Result, error) {
	out, err := p.run(ctx, "ADD")
	if err != nil {
		return nil, err
	}
	return p.decode(out)
}

// Run executes a verb that has no result.
func (p Plugin) Run(ctx context.Context, verb string) error {
	_, err := p.run(ctx, verb)
	return err
}

func (p Plugin) decode(out []byte) (*current.Result, error) {
	result, err := p.parse(out)
	if err != nil {
		return nil, fmt.Errorf("read the result of ipam plugin %s: %w", p.Type, err)
	}
	return current.NewResultFromResult(result)
}

// parse takes a result that leaves its version out for one of the configuration's.
func (p Plugin) parse(out []byte) (types.Result, error) {
	var keys map[string]any
	if err := json.Unmarshal(out, &keys); err != nil {
		return nil, err
	}
	version, _ := keys["cniVersion"].(string)
	if version != "" {
		return create.Create(version, out)
	}
	if keys == nil {
		return nil, errors.New("it is null")
	}
	keys["cniVersion"] = p.CNIVersion
	completed, err := json.Marshal(keys)
	if err != nil {
		return nil, err
	}
	return create.Create(p.CNIVersion, completed)
}

func (p Plugin) run(ctx context.Context, verb string) ([]byte, error) {
	path, err := p.find(filepath.SplitList(os.Getenv("CNI_PATH")))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+verb)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(p.Config), &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, p.failure(verb, out.Bytes(), err)
	}
	return out.Bytes(), nil
}

// failure returns the plugin's own CNI error with its code, if it printed one.
func (p Plugin) failure(verb string, out []byte, err error) error {
	said := &types.Error{}
	if json.Unmarshal(out, said) != nil || said.Msg == "" {
		return fmt.Errorf("run ipam plugin %s for %s: %w: %.500q", p.Type, verb, err, out)
	}
	said.Msg = fmt.Sprintf("ipam plugin %s: %s", p.Type, said.Msg)
	return said
}

// find returns the first executable of the plugin's name.
func (p Plugin) find(dirs []string) (string, error) {
	if p.Type == "" || strings.ContainsRune(p.Type, os.PathSeparator) {
		return "", fmt.Errorf("find ipam plugin %q: %w: not the name of a plugin", p.Type, ErrNotFound)
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, p.Type)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("find ipam plugin %s: %w in CNI_PATH's folders %s", p.Type, ErrNotFound, strings.Join(dirs, ", "))
}
