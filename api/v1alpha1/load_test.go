// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const document = `
apiVersion: flock.fritzlab.net/v1alpha1
kind: NodeConfig
metadata:
  name: node-1
spec:
  pools:
  - {name: default6, cidr: "2001:db8:1::/64", gateway: "2001:db8:1::1", reserved: ["2001:db8:1::2-2001:db8:1::9"]}
  defaults: {ipv4: false, ipAlgo: [namespace, pod], coolDown: 60s}
  mtu: 9000
  summaryRoute: unreachable
  bgp:
    localASN: 4200000001
    exportAccept: []
    peers:
    - name: tor
      address: 2001:db8::a
      peerASN: 64500
      passwordSecretRef: {name: bgp, key: tor}
      importAccept: []
      holdTime: 9s
`

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(path, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	config, errs := c.Parse()
	if errs != nil {
		t.Fatal(errs.ToAggregate())
	}
	if len(config.BGP.ExportAccept) != 0 || len(config.BGP.Peers[0].ImportAccept) != 0 {
		t.Error("an empty list became the default")
	}
	if config.BGP.LocalASN != 4200000001 || *config.BGP.Peers[0].Password != (SecretKeyRef{Name: "bgp", Key: "tor"}) {
		t.Errorf("bgp = %+v", config.BGP)
	}
	if _, err := Load(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of an absent file: %v", err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, test := range []struct{ name, old, new, want string }{
		{"unknown key", "mtu: 9000", "mtuu: 9000", `"mtuu"`},
		{"inline password", "passwordSecretRef: {name: bgp, key: tor}", "password: hunter2", `"password"`},
		{"repeated key", "mtu: 9000", "mtu: 9000\n  mtu: 9001", `"mtu"`},
		{"other kind", "kind: NodeConfig", "kind: Node", "write apiVersion: flock.fritzlab.net/v1alpha1 and kind: NodeConfig"},
		{"no version", "apiVersion: flock.fritzlab.net/v1alpha1", "", "write apiVersion"},
		{"wrong type", "mtu: 9000", "mtu: large", "mtu"},
		{"number without unit", "coolDown: 60s", "coolDown: 60", "decode YAML"},
		{"not YAML", "spec:", "spec: [", "decode YAML"},
		{"empty", document, "", "write apiVersion"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Decode([]byte(strings.Replace(document, test.old, test.new, 1)))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Decode: %v, want an error with %s", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows a password: %v", err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(document))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Decode(text)
		if err != nil {
			return
		}
		if config, errs := c.Parse(); (config == nil) == (errs == nil) {
			t.Errorf("Parse() = %v, %v", config, errs)
		}
	})
}
