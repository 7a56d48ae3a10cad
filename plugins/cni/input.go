// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
)

// Input is the configuration as the runtime sends it, CNI's own keys taken out of it.
type Input struct {
	CNIVersion string
	// Network is the network's name, the key "name".
	Network string
	// Type is the executable that the configuration is for. A delegated plugin (ipam) sees its
	// main plugin's.
	Type string
	// Own holds the keys that are not CNI's as one JSON object, for [Strict].
	Own json.RawMessage
	// IPAM is the "ipam" section, nil where there is none, and IPAMType its "type".
	IPAM     json.RawMessage
	IPAMType string
	// RuntimeConfig holds what the runtime gives for the capabilities that the configuration lists.
	RuntimeConfig map[string]json.RawMessage
	// PrevResult is the previous plugin's result, nil where there is none.
	PrevResult *current.Result
	// Raw is the whole of it, to hand to a delegate.
	Raw []byte

	validAttachments *[]types.GCAttachment
}

// envelope is CNI's part of a plugin configuration (CNI specification, section 1).
type envelope struct {
	CNIVersion       string                     `json:"cniVersion"`
	Name             string                     `json:"name"`
	Type             string                     `json:"type"`
	IPAM             json.RawMessage            `json:"ipam"`
	RuntimeConfig    map[string]json.RawMessage `json:"runtimeConfig"`
	PrevResult       json.RawMessage            `json:"prevResult"`
	ValidAttachments json.RawMessage            `json:"cni.dev/valid-attachments"`
}

// reserved are CNI's keys, which are no plugin's own; so is everything that starts with "cni.dev/".
var reserved = map[string]bool{
	"cniVersion": true, "cniVersions": true, "name": true, "type": true, "capabilities": true,
	"runtimeConfig": true, "prevResult": true, "ipam": true, "dns": true, "args": true, "ipMasq": true,
	"disableCheck": true, "disableGC": true, "loadOnlyInlinedPlugins": true,
}

// prevResultMode says what a prevResult that does not decode does to the request.
type prevResultMode bool

const (
	// prevResultStrict: it is an error.
	prevResultStrict prevResultMode = false
	// prevResultOptional: it counts as absent. DEL has to work without one, so a broken cache of the
	// runtime is no reason to keep a pod for ever.
	prevResultOptional prevResultMode = true
)

func decodeInput(stdin []byte, mode prevResultMode) (Input, error) {
	var env envelope
	var keys map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(stdin, &env), json.Unmarshal(stdin, &keys)); err != nil {
		return Input{}, Wrap(types.ErrDecodingFailure, fmt.Errorf("decode the network configuration: %w", err))
	}
	in := Input{CNIVersion: env.CNIVersion, Network: env.Name, Type: env.Type, RuntimeConfig: env.RuntimeConfig, Raw: stdin}
	if err := in.decodeSections(env, keys); err != nil {
		return Input{}, Wrap(types.ErrDecodingFailure, err)
	}
	if present(env.PrevResult) {
		prev, err := decodePrevResult(env.CNIVersion, env.PrevResult)
		if err != nil && mode == prevResultStrict {
			return Input{}, Wrap(types.ErrDecodingFailure, fmt.Errorf("decode prevResult: %w", err))
		}
		in.PrevResult = prev
	}
	return in, nil
}

func (in *Input) decodeSections(env envelope, keys map[string]json.RawMessage) error {
	for key := range keys {
		if reserved[key] || strings.HasPrefix(key, "cni.dev/") {
			delete(keys, key)
		}
	}
	var err error
	if in.Own, err = json.Marshal(keys); err != nil {
		return err
	}
	if present(env.IPAM) {
		var ipam types.IPAM
		if err := json.Unmarshal(env.IPAM, &ipam); err != nil {
			return fmt.Errorf("decode ipam: %w", err)
		}
		in.IPAM, in.IPAMType = env.IPAM, ipam.Type
	}
	if env.ValidAttachments != nil {
		in.validAttachments = new([]types.GCAttachment)
		if err := json.Unmarshal(env.ValidAttachments, in.validAttachments); err != nil {
			return fmt.Errorf("decode cni.dev/valid-attachments: %w", err)
		}
	}
	return nil
}

// resultShape is what is checked of a result before its own decoder sees it, which trusts it.
type resultShape struct {
	CNIVersion string            `json:"cniVersion"`
	Interfaces []json.RawMessage `json:"interfaces"`
	IPs        []json.RawMessage `json:"ips"`
	Routes     []json.RawMessage `json:"routes"`
}

// decodePrevResult returns the result in its newest form, or an error and no result.
func decodePrevResult(version string, raw json.RawMessage) (*current.Result, error) {
	var shape resultShape
	if err := json.Unmarshal(raw, &shape); err != nil {
		return nil, err
	}
	if err := shape.check(); err != nil {
		return nil, err
	}
	if shape.CNIVersion == "" {
		var err error
		if raw, err = withVersion(raw, version); err != nil {
			return nil, err
		}
	}
	decoded, err := create.Create(version, raw)
	if err != nil {
		return nil, err
	}
	result, err := current.NewResultFromResult(decoded)
	if err != nil {
		return nil, err
	}
	if err := checkResult(result); err != nil {
		return nil, err
	}
	return result, nil
}

func (s resultShape) check() error {
	for _, list := range []struct {
		name    string
		entries []json.RawMessage
	}{{"interfaces", s.Interfaces}, {"ips", s.IPs}, {"routes", s.Routes}} {
		if i := slices.IndexFunc(list.entries, absent); i >= 0 {
			return fmt.Errorf("%s[%d] is null", list.name, i)
		}
	}
	return nil
}

// withVersion gives a result the version of its configuration: the specification's own examples leave
// it out of prevResult.
func withVersion(raw json.RawMessage, version string) (json.RawMessage, error) {
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	fields["cniVersion"] = version
	return json.Marshal(fields)
}

func absent(raw json.RawMessage) bool  { return !present(raw) }
func present(raw json.RawMessage) bool { return len(raw) > 0 && !bytes.Equal(raw, []byte("null")) }

// Strict decodes one JSON object into v and refuses a key that v does not have, by name. A raw that is
// empty or null leaves v as it is.
func Strict(raw json.RawMessage, v any) error {
	if absent(raw) {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return nameKey(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("more than one JSON value")
	}
	return nil
}

// nameKey puts the decoder's words into those of whoever wrote the configuration.
func nameKey(err error) error {
	if key, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf("unknown key %s: remove it or correct its spelling", key)
	}
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) && wrong.Field != "" {
		return fmt.Errorf("key %q: a JSON %s does not fit a %s", wrong.Field, wrong.Value, wrong.Type)
	}
	return err
}
