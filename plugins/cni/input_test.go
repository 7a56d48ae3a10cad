// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
)

func TestDecodeInput(t *testing.T) {
	tests := []struct {
		name, stdin, err string
		check            func(Input) bool
	}{
		{"nothing", ``, "decode the network configuration", nil},
		{"a list", `[]`, "decode the network configuration", nil},
		{"two", `{} {}`, "decode the network configuration", nil},
		{"own keys", `{"name":"n","type":"t","mtu":1500,"cni.dev/x":1,"args":{},"dns":{},"ipMasq":true}`, "",
			func(in Input) bool { return string(in.Own) == `{"mtu":1500}` && in.Network == "n" && in.Type == "t" }},
		{"no own keys", `{"name":"n"}`, "", func(in Input) bool { return string(in.Own) == `{}` }},
		{"key in another case", `{"name":"n","Ipam":1}`, "", func(in Input) bool { return string(in.Own) == `{"Ipam":1}` }},
		{"ipam", `{"ipam":{"type":"flock-ipam","pools":[]}}`, "",
			func(in Input) bool { return in.IPAMType == "flock-ipam" && strings.Contains(string(in.IPAM), "pools") }},
		{"ipam null", `{"ipam":null}`, "", func(in Input) bool { return in.IPAM == nil }},
		{"runtimeConfig", `{"runtimeConfig":{"ips":["192.0.2.1"]}}`, "",
			func(in Input) bool { return string(in.RuntimeConfig["ips"]) == `["192.0.2.1"]` }},
		{"prevResult null", `{"cniVersion":"1.0.0","prevResult":null}`, "", func(in Input) bool { return in.PrevResult == nil }},
		{"prevResult without its version", `{"cniVersion":"1.0.0","prevResult":{"ips":[{"address":"192.0.2.1/32"}]}}`, "",
			func(in Input) bool { return len(in.PrevResult.IPs) == 1 && in.PrevResult.CNIVersion == "1.1.0" }},
		{"empty prevResult", `{"cniVersion":"0.4.0","prevResult":{}}`, "", func(in Input) bool { return in.PrevResult != nil }},
		{"old prevResult", `{"cniVersion":"0.3.1","prevResult":{"cniVersion":"0.3.1","ips":[{"version":"4","address":"192.0.2.1/32"}]}}`, "",
			func(in Input) bool { return in.PrevResult.IPs[0].Address.String() == "192.0.2.1/32" }},
		{"prevResult of no known version", `{"cniVersion":"9.9.9","prevResult":{}}`, "decode prevResult", nil},
		{"null in an old prevResult", `{"cniVersion":"0.4.0","prevResult":{"cniVersion":"0.4.0","routes":[null]}}`, "routes[0] is null", nil},
		{"no list", `{}`, "", func(in Input) bool { return in.validAttachments == nil }},
		{"null list", `{"cni.dev/valid-attachments":null}`, "", func(in Input) bool { return in.validAttachments != nil }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in, err := decode(test.stdin, false)
			if test.err != "" {
				if coded := (*types.Error)(nil); !errors.As(err, &coded) || coded.Code != types.ErrDecodingFailure || !strings.Contains(coded.Msg, test.err) {
					t.Fatalf("error %v, want code 6 and %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !test.check(in) {
				t.Errorf("decoded to %+v", in)
			}
		})
	}
}

// decode decodes a configuration with its prevResult.
func decode(stdin string, optional bool) (Input, error) {
	in, prevResult, err := decodeInput([]byte(stdin))
	if err == nil {
		err = in.takePrevResult(prevResult, optional)
	}
	return in, err
}

// FuzzDecodeInput looks for input that makes the decoder panic, or that it decodes to what the verbs
// need not expect.
func FuzzDecodeInput(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `{"ipam":{"type":"x"},"runtimeConfig":{"a":1},"mtu":1}`, `{"cni.dev/valid-attachments":[{"containerID":"a","ifname":"b"}]}`,
		`{"cniVersion":"1.1.0","name":"n","prevResult":{"interfaces":[{"name":"eth0"}],"ips":[{"address":"::1/128","interface":0}],"routes":[{"dst":"::/0"}]}}`,
		`{"cniVersion":"0.4.0","name":"n","prevResult":{"cniVersion":"0.4.0","ips":[{"version":"4","address":"1.2.3.4/32"}],"interfaces":[null]}}`,
		`{"cniVersion":"1.0.0","PREVRESULT":{"CNIVERSION":"1.0.0","IPS":[null]}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, stdin []byte) {
		in, err := decode(string(stdin), false)
		if tolerated, terr := decode(string(stdin), true); err == nil && (terr != nil || tolerated.Network != in.Network) {
			t.Fatalf("tolerance made it worse: %v", terr)
		}
		if err != nil {
			return
		}
		var own map[string]json.RawMessage
		if err := json.Unmarshal(in.Own, &own); err != nil {
			t.Fatalf("own keys %s: %v", in.Own, err)
		}
		if r := in.PrevResult; r != nil {
			if slices.Contains(r.Interfaces, nil) || slices.Contains(r.IPs, nil) || slices.Contains(r.Routes, nil) {
				t.Fatalf("prevResult has a nil entry: %+v", r)
			}
			if _, _, err := Addresses(r); err != nil {
				t.Fatalf("prevResult has an address that is none: %v", err)
			}
			if _, err := json.Marshal(r); err != nil {
				t.Fatalf("prevResult cannot be passed on: %v", err)
			}
		}
	})
}

func TestStrict(t *testing.T) {
	type conf struct {
		MTU   int      `json:"mtu"`
		Pools []string `json:"pools"`
		Deep  struct {
			Key bool `json:"key"`
		} `json:"deep"`
	}
	tests := []struct{ raw, err string }{
		{`{"mtu":1500,"pools":["::/64"],"deep":{"key":true}}`, ""},
		{``, ""},
		{`null`, ""},
		{`{"mtuu":1}`, `unknown key "mtuu"`},
		{`{"deep":{"keyy":1}}`, `unknown key "keyy"`},
		{`{"mtu":"big"}`, `key "mtu": a JSON string does not fit a int`},
		{`{"deep":{"key":1}}`, `key "deep.key": a JSON number`},
		{`{"mtu":1}{}`, "more than one JSON value"},
		{`{"mtu":`, "unexpected EOF"},
		{`[]`, "cannot unmarshal array"},
	}
	for _, test := range tests {
		var c conf
		err := Strict(json.RawMessage(test.raw), &c)
		if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("Strict(%s) = %v, want %q", test.raw, err, test.err)
		}
	}
}

func TestRequirePrevResult(t *testing.T) {
	_, err := Input{}.RequirePrevResult("flock-route")
	if coded := (*types.Error)(nil); !errors.As(err, &coded) || coded.Code != types.ErrInvalidNetworkConfig || !strings.Contains(coded.Msg, "flock-route") {
		t.Errorf("without prevResult: %v, want code 7 and the plugin's name", err)
	}
}

func TestNames(t *testing.T) {
	if got := (Attachment{"net", "c1", "eth0"}).String(); got != "net/c1/eth0" {
		t.Errorf("Attachment is %q", got)
	}
	if got := (Pod{Namespace: "ns", Name: "pod"}).String(); got != "ns/pod" {
		t.Errorf("Pod is %q", got)
	}
	if got := (Pod{Namespace: "ns"}).String(); got != "" {
		t.Errorf("a Pod without a name is %q", got)
	}
}
