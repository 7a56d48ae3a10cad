// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"bytes"
	"cmp"
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

	rawPrevResult     json.RawMessage
	prevResultVersion string // as it says itself, "" where it does not
	validAttachments  *[]types.GCAttachment
}

// reserved are CNI's keys, which are no plugin's own; so is everything that starts with "cni.dev/".
var reserved = map[string]bool{
	"cniVersion": true, "cniVersions": true, "name": true, "type": true, "capabilities": true,
	"runtimeConfig": true, "prevResult": true, "ipam": true, "dns": true, "args": true, "ipMasq": true,
	"disableCheck": true, "disableGC": true, "loadOnlyInlinedPlugins": true,
}

// maxInput is far more than a configuration needs.
const maxInput = 16 << 20

// readInput reads and decodes the configuration for a verb. With an error it returns as much as is known.
func readInput(stdin io.Reader, command string) (Input, error) {
	text, err := io.ReadAll(io.LimitReader(stdin, maxInput))
	if err != nil {
		return Input{}, Wrap(types.ErrIOFailure, fmt.Errorf("read stdin: %w", err))
	}
	in, prevResult, err := decodeInput(text)
	if err == nil {
		err = in.check(command)
	}
	if err == nil {
		// DEL has to work without one: a broken cache of the runtime is no reason to keep a pod for ever.
		err = in.takePrevResult(prevResult, command == "DEL")
	}
	return in, err
}

// decodeInput returns the configuration and its prevResult, which is not decoded yet.
func decodeInput(text []byte) (in Input, prevResult json.RawMessage, err error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(text, &keys); err != nil {
		return Input{}, nil, Wrap(types.ErrDecodingFailure, fmt.Errorf("decode the network configuration: %w", err))
	}
	in.Raw = text
	err = in.decodeKeys(keys)
	return in, keys["prevResult"], Wrap(types.ErrDecodingFailure, err)
}

func (in *Input) takePrevResult(raw json.RawMessage, optional bool) error {
	if absent(raw) {
		return nil
	}
	err := in.decodePrevResult(raw)
	if err == nil || optional {
		return nil
	}
	return Wrap(types.ErrDecodingFailure, fmt.Errorf("decode prevResult: %w", err))
}

// check refuses a network without a proper name, and a version that the frame or the verb does not have.
func (in *Input) check(command string) error {
	if !validName(in.Network) {
		return Wrap(types.ErrInvalidNetworkConfig,
			fmt.Errorf("read the network's name %.80q: it takes letters, digits, and after the first _ . -", in.Network))
	}
	supported := Versions.SupportedVersions()
	from := slices.IndexFunc(supported, func(v string) bool { return v >= since[command] })
	asked := cmp.Or(in.CNIVersion, "0.1.0") // what the specification says an absent version means
	if !slices.Contains(supported[from:], asked) {
		return Wrap(types.ErrIncompatibleCNIVersion,
			fmt.Errorf("serve %s: cniVersion is %q, and must be one of %s", command, asked, strings.Join(supported[from:], ", ")))
	}
	return nil
}

// decodeKeys reads CNI's own keys, and puts the others aside for the plugin.
func (in *Input) decodeKeys(keys map[string]json.RawMessage) error {
	var ipam types.IPAM
	for _, k := range []struct {
		name string
		to   any
	}{
		{"cniVersion", &in.CNIVersion}, {"name", &in.Network}, {"type", &in.Type},
		{"runtimeConfig", &in.RuntimeConfig}, {"ipam", &ipam}, {"cni.dev/valid-attachments", &in.validAttachments},
	} {
		if raw, given := keys[k.name]; given {
			if err := json.Unmarshal(raw, k.to); err != nil {
				return fmt.Errorf("decode %s: %w", k.name, err)
			}
		}
	}
	if raw := keys["ipam"]; present(raw) {
		in.IPAM, in.IPAMType = raw, ipam.Type
	}
	if raw, given := keys["cni.dev/valid-attachments"]; given && absent(raw) {
		in.validAttachments = new([]types.GCAttachment) // Go's way to write a list of none
	}
	own := map[string]json.RawMessage{}
	for key, raw := range keys {
		if !reserved[key] && !strings.HasPrefix(key, "cni.dev/") {
			own[key] = raw
		}
	}
	var err error
	in.Own, err = json.Marshal(own)
	return err
}

// decodePrevResult sets PrevResult to the result in its newest form, or returns an error.
func (in *Input) decodePrevResult(raw json.RawMessage) error {
	result := new(current.Result)
	if err := json.Unmarshal(raw, result); err != nil {
		return err
	}
	in.rawPrevResult, in.prevResultVersion = raw, result.CNIVersion
	var err error
	switch {
	case result.CNIVersion != "" && result.CNIVersion != in.CNIVersion:
		err = fmt.Errorf("it is of version %s, its configuration of %s", result.CNIVersion, in.CNIVersion)
	case in.CNIVersion == "1.0.0" || in.CNIVersion == "1.1.0": // their fields are the same
		result.CNIVersion = current.ImplementedSpecVersion
	default:
		result, err = decodeOld(in.CNIVersion, raw)
	}
	if err == nil {
		err = checkResult(result)
	}
	if err == nil {
		in.PrevResult = result
	}
	return err
}

// decodeOld decodes a result of a version below 1.0.0.
func decodeOld(version string, raw json.RawMessage) (*current.Result, error) {
	var shape resultShape
	if err := json.Unmarshal(raw, &shape); err != nil {
		return nil, err
	}
	if err := shape.check(); err != nil {
		return nil, err
	}
	raw, err := withVersion(raw, version)
	if err != nil {
		return nil, err
	}
	decoded, err := create.Create(version, raw)
	if err != nil {
		return nil, err
	}
	return current.NewResultFromResult(decoded)
}

// resultShape is what is checked of an old result before its own decoder sees it, which trusts it.
type resultShape struct {
	Interfaces []json.RawMessage `json:"interfaces"`
	IPs        []json.RawMessage `json:"ips"`
	Routes     []json.RawMessage `json:"routes"`
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
