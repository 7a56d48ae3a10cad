// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"flock.fritzlab.net/flock/test/apiserver"
)

// server returns what asks a real API server whether it would take an object, in JSON.
func server(t *testing.T) func(object []byte) error {
	t.Helper()
	s := apiserver.Start(t)
	s.CRDs(t)
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	config := s.Config()
	config.APIPath, config.GroupVersion, config.QPS = "/apis", &GroupVersion, -1
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	return func(object []byte) error {
		return client.Post().Resource(Resource).Param("dryRun", "All").SetHeader("Content-Type", "application/json").
			Body(object).Do(context.Background()).Error()
	}
}

func encode(t *testing.T, c *NodeConfig) []byte {
	t.Helper()
	c.APIVersion, c.Kind = APIVersion, Kind
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The rules of the CRD and those of Parse are two; this holds them together.
func TestServerRefusesWhatParseRefuses(t *testing.T) {
	create := server(t)
	refuse := func(name string, spoil func(*NodeConfig), want string) {
		t.Run(name, func(t *testing.T) {
			c := valid()
			spoil(c)
			switch err := create(encode(t, c)); {
			case want == "" && err != nil:
				t.Errorf("the server refuses what its rules do not cover: %v", err)
			case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
				t.Errorf("the server: %v\nwant %q in it", err, want)
			}
		})
	}
	for _, test := range spoilt {
		refuse(test.name, test.spoil, test.api)
	}
	for _, test := range spoiltPeers {
		refuse("peer "+test.name, func(c *NodeConfig) { test.spoil(&c.Spec.BGP.Peers[0]) }, test.api)
	}
}

// What no Go value shows, replaced in the document that Load's tests read.
func TestServerRefusesDocuments(t *testing.T) {
	create := server(t)
	const secret, peer = "passwordSecretRef: {name: bgp, key: tor}", "spec.bgp.peers[0]."
	for _, test := range []struct{ name, old, new, want string }{
		{"inline password", secret, "password: hunter2", peer + "password: Forbidden: a NodeConfig holds no password: put it in a Secret and name that in passwordSecretRef"},
		{"inline password beside the reference", secret, secret + "\n      password: hunter2", peer + "password: Forbidden"},
		{"inline password of digits", secret, "password: 12345", peer + "password: Invalid value"},
		{"no localASN", "localASN: 4200000001", "", "spec.bgp.localASN: Required value"},
		{"no peerASN", "peerASN: 64500", "", peer + "peerASN: Required value"},
		{"no family", secret, "families: []", peer + "families in body should have at least 1 items"},
		{"no cidr", `cidr: "2001:db8:1::/64",`, "", "spec.pools[0].cidr: Required value"},
		{"hold time without unit", "holdTime: 9s", "holdTime: 9", peer + "holdTime in body must be of type string"},
		{"hold time in words", "holdTime: 9s", "holdTime: soon", peer + "holdTime: Invalid value"},
		{"hold time with some nanoseconds", "holdTime: 9s", "holdTime: 9.0000001s", peer + "holdTime: Invalid value"},
		{"keepalive over a third of the default", "holdTime: 9s", "keepaliveTime: 31s", "use whole seconds from 1s to a third of holdTime"},
		{"cool-down in words", "coolDown: 60s", "coolDown: long", "write a duration of 0s or more"},
		{"wrong type", "mtu: 9000", "mtu: large", "spec.mtu in body must be of type integer"},
		{"no spec", document[strings.Index(document, "spec:"):], "", "spec: Required value"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := []byte(strings.Replace(document, test.old, test.new, 1))
			object, err := yaml.YAMLToJSON(text)
			if err != nil {
				t.Fatal(err)
			}
			err = create(object)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the server: %v\nwant %q in it", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows a password: %v", err)
			}
			if c, err := Decode(text); err == nil && problems(c) == nil && test.name != "no spec" {
				t.Error("Decode and Parse accept it")
			}
		})
	}
}

func TestServerAcceptsTheExamples(t *testing.T) {
	create := server(t)
	for _, text := range examples(t) {
		object, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := create(object); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
}

// Whole seconds are what they are, however they are written: the rule has int(), which cuts a timestamp to seconds,
// say whether there is more.
func TestServerAcceptsDurations(t *testing.T) {
	create := server(t)
	for _, written := range []string{"90s", "1m30s", "1.5m", "90000ms", "+90s", "18h12m15s"} {
		text := []byte(strings.Replace(document, "holdTime: 9s", "holdTime: "+written+"\n      keepaliveTime: 0.5m", 1))
		if c, err := Decode(text); err != nil || problems(c) != nil {
			t.Errorf("%s: Decode: %v", written, err)
		}
		object, err := yaml.YAMLToJSON(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := create(object); err != nil {
			t.Errorf("%s: %v", written, err)
		}
	}
}

// examples returns the NodeConfigs of the documents and of deploy/examples.
func examples(t *testing.T) []string {
	t.Helper()
	all := []string{document}
	for _, block := range strings.Split(readDocs(t), "```yaml\n")[1:] {
		text, _, _ := strings.Cut(block, "```")
		all = append(all, text)
	}
	err := filepath.WalkDir("../../deploy/examples", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".yaml" {
			return err
		}
		text, err := os.ReadFile(path)
		for _, part := range strings.Split(string(text), "\n---\n") {
			if strings.Contains(part, "\nkind: "+Kind+"\n") {
				all = append(all, part)
			}
		}
		return err
	})
	if err != nil || len(all) < 8 {
		t.Fatalf("%d examples, %v", len(all), err)
	}
	return all
}

// What a rule costs is bounded when it is applied, too.
func TestServerAcceptsTheLargest(t *testing.T) {
	c := valid()
	c.Spec.Pools, c.Spec.BGP.Peers, c.Spec.BGP.ExportAccept = nil, nil, nil
	for i := range 64 {
		p := Pool{Name: fmt.Sprint("pool-", i), CIDR: fmt.Sprintf("2001:db8:ffff:%x::/64", i), Gateway: fmt.Sprintf("2001:db8:ffff:%x::1", i)}
		peer := Peer{
			Name: fmt.Sprint("peer-", i), Address: fmt.Sprintf("2001:db8:%x::1", i), PeerASN: 64512, LocalPref: new(int64(1)),
			PasswordSecretRef: &SecretKeyRef{Name: "bgp"}, HoldTime: seconds(9), KeepaliveTime: seconds(3),
		}
		for j := range 256 {
			p.Reserved = append(p.Reserved, fmt.Sprintf("2001:db8:ffff:%x:ffff:ffff:ffff:%x-2001:db8:ffff:%x:ffff:ffff:ffff:%x", i, 256*j, i, 256*j+255))
			peer.ImportAccept = append(peer.ImportAccept, PrefixRange{CIDR: fmt.Sprintf("10.%d.%d.0/24", i, j), MaxLength: 32})
		}
		for j := range 32 {
			peer.Communities = append(peer.Communities, fmt.Sprintf("4200000000:4200000000:%d", j))
		}
		c.Spec.Pools, c.Spec.BGP.Peers = append(c.Spec.Pools, p), append(c.Spec.BGP.Peers, peer)
	}
	for i := range 256 {
		c.Spec.BGP.ExportAccept = append(c.Spec.BGP.ExportAccept, fmt.Sprintf("2001:db8:%x::/48", i))
	}
	if errs := problems(c); errs != nil {
		t.Fatal(errs.ToAggregate())
	}
	if err := server(t)(encode(t, c)); err != nil {
		t.Error(err)
	}
}
