// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

func decodeInput(stdin []byte) (Input, error) {
	var env envelope
	var keys map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(stdin, &env), json.Unmarshal(stdin, &keys)); err != nil {
		return Input{}, Wrap(types.ErrDecodingFailure, fmt.Errorf("decode the network configuration: %w", err))
	}
	in := Input{CNIVersion: env.CNIVersion, Network: env.Name, Type: env.Type, RuntimeConfig: env.RuntimeConfig, Raw: stdin}
	if in.CNIVersion == "" {
		in.CNIVersion = "0.1.0" // what the specification says an absent version means
	}
	if err := in.decodeSections(env, keys); err != nil {
		return Input{}, Wrap(types.ErrDecodingFailure, err)
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
	if present(env.PrevResult) {
		return in.decodePrevResult(env.PrevResult)
	}
	return nil
}

func (in *Input) decodePrevResult(raw json.RawMessage) error {
	result, err := create.Create(in.CNIVersion, raw)
	if err != nil {
		return fmt.Errorf("decode prevResult: %w", err)
	}
	in.PrevResult, err = current.NewResultFromResult(result)
	if err != nil {
		return fmt.Errorf("convert prevResult: %w", err)
	}
	for i, ip := range in.PrevResult.IPs {
		if n := ip.Interface; n != nil && (*n < 0 || *n >= len(in.PrevResult.Interfaces)) {
			return fmt.Errorf("decode prevResult: ips[%d] names interface %d of %d", i, *n, len(in.PrevResult.Interfaces))
		}
	}
	return nil
}

func present(raw json.RawMessage) bool { return len(raw) > 0 && !bytes.Equal(raw, []byte("null")) }

// Strict decodes one JSON object into v and refuses a key that v does not have, by name.
func Strict(raw json.RawMessage, v any) error {
	if !present(raw) {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		if key, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return fmt.Errorf("unknown key %s: remove it or correct its spelling", key)
		}
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("more than one JSON value")
	}
	return nil
}
