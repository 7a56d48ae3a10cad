// SPDX-License-Identifier: Apache-2.0

package annotation

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// draw shows a request on one line.
func draw(r Request) string {
	var parts []string
	add := func(key string, said bool, value any) {
		if said {
			parts = append(parts, fmt.Sprintf("%s=%v", strings.TrimPrefix(key, Prefix), value))
		}
	}
	for key, choice := range map[string]*bool{IPv6: r.IPv6, IPv4: r.IPv4} {
		if choice != nil {
			add(key, true, *choice)
		}
	}
	if len(parts) == 2 && strings.HasPrefix(parts[0], "ipv4") {
		parts[0], parts[1] = parts[1], parts[0]
	}
	add(CIDR6, r.CIDR6.IsValid(), r.CIDR6)
	add(CIDR4, r.CIDR4.IsValid(), r.CIDR4)
	add(IPAlgo, r.IPAlgo != nil, r.IPAlgo)
	add(Addresses, r.Addresses != nil, r.Addresses)
	add(Anycast, r.Anycast != nil, r.Anycast)
	return strings.Join(parts, " ")
}

// annotations turns "key=value" texts into a pod's annotations.
func annotations(texts ...string) map[string]string {
	all := map[string]string{"example.org/other": "{\n", "ipv6": "perhaps"}
	for _, text := range texts {
		key, value, _ := strings.Cut(text, "=")
		all[Prefix+key] = value
	}
	return all
}

func TestParse(t *testing.T) {
	tests := []struct {
		name string
		in   []string
		want string
	}{
		{"nothing", nil, ""},
		{"families", []string{"ipv6=true", "ipv4=false"}, "ipv6=true ipv4=false"},
		{"CIDRs", []string{"cidr6=2001:db8::/80", "cidr4=10.0.0.0/28"}, "cidr6=2001:db8::/80 cidr4=10.0.0.0/28"},
		{"ip-algo keeps its order", []string{"ip-algo=pod, namespace,image"}, "ip-algo=[pod namespace image]"},
		{"addresses", []string{"addresses=10.0.0.9, 2001:db8::9"}, "addresses=[10.0.0.9 2001:db8::9]"},
		{"anycast", []string{"anycast=2001:db8:a::1"}, "anycast=[2001:db8:a::1]"},
		{"fixed in one family, CIDR in the other", []string{"addresses=10.0.0.9", "cidr6=2001:db8::/80"}, "cidr6=2001:db8::/80 addresses=[10.0.0.9]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(annotations(tt.in...))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, draw(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name string
		in   []string
		key  string
		want string
	}{
		{"bool", []string{"ipv6=yes"}, IPv6, `want "true" or "false"`},
		{"bool of another case", []string{"ipv4=True"}, IPv4, `want "true" or "false"`},
		{"bool with a newline", []string{"ipv4=true\n"}, IPv4, `want "true" or "false"`},
		{"empty bool", []string{"ipv4="}, IPv4, `want "true" or "false"`},
		{"CIDR of the wrong family", []string{"cidr4=2001:db8::/64"}, CIDR4, "want a CIDR of IPv4, not of IPv6"},
		{"CIDR of the wrong family, too", []string{"cidr6=10.0.0.0/8"}, CIDR6, "want a CIDR of IPv6, not of IPv4"},
		{"CIDR with host bits", []string{"cidr6=2001:db8::1/64"}, CIDR6, `"2001:db8::1/64" has host bits set: write 2001:db8::/64`},
		{"IPv4-mapped CIDR", []string{"cidr6=::ffff:10.0.0.0/104"}, CIDR6, `"::ffff:10.0.0.0/104" is IPv4-mapped IPv6: write it as IPv4`},
		{"CIDR with a brace", []string{"cidr6=2001:db8::/64}"}, CIDR6, `"2001:db8::/64}" is no CIDR: write one such as 2001:db8::/64 or 192.0.2.0/24`},
		{"two CIDRs", []string{"cidr4=10.0.0.0/8,11.0.0.0/8"}, CIDR4, `"10.0.0.0/8,11.0.0.0/8" is no CIDR: write one such as 2001:db8::/64 or 192.0.2.0/24`},
		{"unknown field", []string{"ip-algo=pod,node"}, IPAlgo, `"node" is no field: want a list of namespace, pod and image, separated by commas`},
		{"empty field list", []string{"ip-algo="}, IPAlgo, `"" is no field: want a list of namespace, pod and image, separated by commas`},
		{"field twice", []string{"ip-algo=pod,pod"}, IPAlgo, `"pod" is listed twice`},
		{"address with a newline", []string{"addresses=10.0.0.1\n"}, Addresses, `"10.0.0.1\n" is no address: write one such as 2001:db8::10 or 192.0.2.10`},
		{"address with a zone", []string{"addresses=2001:db8::1%eth0"}, Addresses, `"2001:db8::1%eth0" has a zone: write 2001:db8::1`},
		{"IPv4-mapped address", []string{"addresses=::ffff:10.0.0.1"}, Addresses, `"::ffff:10.0.0.1" is IPv4-mapped IPv6: write 10.0.0.1`},
		{"address with a length", []string{"addresses=10.0.0.1/24"}, Addresses, `"10.0.0.1/24" is no address: write one such as 2001:db8::10 or 192.0.2.10`},
		{"address twice", []string{"addresses=2001:db8::1,2001:db8:0::1"}, Addresses, "2001:db8::1 is listed twice"},
		{"trailing comma", []string{"addresses=10.0.0.1,"}, Addresses, `"" is no address: write one such as 2001:db8::10 or 192.0.2.10`},
		{"empty address list", []string{"addresses="}, Addresses, `"" is no address: write one such as 2001:db8::10 or 192.0.2.10`},
		{"broadcast", []string{"addresses=255.255.255.255"}, Addresses, "255.255.255.255 is the broadcast address, which no pod can have"},
		{"multicast", []string{"anycast=ff02::1"}, Anycast, "ff02::1 is a multicast address, which no pod can have"},
		{"loopback", []string{"anycast=127.0.0.1"}, Anycast, "127.0.0.1 is a loopback address, which no pod can have"},
		{"link-local", []string{"anycast=fe80::5"}, Anycast, "fe80::5 is a link-local address, which no pod can have"},
		{"IPv4 link-local", []string{"anycast=169.254.1.1"}, Anycast, "169.254.1.1 is a link-local address, which no pod can have"},
		{"unspecified", []string{"anycast=::"}, Anycast, ":: is the unspecified address, which no pod can have"},
		{"a thousand addresses", []string{"addresses=" + strings.Repeat("10.0.0.1,", 999) + "10.0.0.2"}, Addresses, "1000 addresses, 64 at most"},
		{"shared and its own", []string{"addresses=10.0.0.1", "anycast=10.0.0.1"}, Anycast, "10.0.0.1 is in flock.fritzlab.net/addresses too, and cannot be both shared and the pod's own"},
		{"CIDR of a family switched off", []string{"ipv6=false", "cidr6=2001:db8::/64"}, CIDR6, "asks for IPv6, which flock.fritzlab.net/ipv6 switches off"},
		{"address of a family switched off", []string{"ipv4=false", "addresses=10.0.0.1"}, Addresses, "asks for IPv4, which flock.fritzlab.net/ipv4 switches off"},
		{"anycast of a family switched off", []string{"ipv6=false", "anycast=2001:db8::1"}, Anycast, "anycast in IPv6 needs a unicast address of it, which flock.fritzlab.net/ipv6 switches off"},
		{"CIDR and address", []string{"cidr4=10.0.0.0/8", "addresses=10.0.0.1"}, CIDR4, "flock.fritzlab.net/addresses names the pod's IPv4 address, so nothing is allocated: remove one of the two"},
		{"nothing left", []string{"ipv6=false", "ipv4=false"}, IPv4, "flock.fritzlab.net/ipv6 is false too, which leaves the pod without an address"},
		{"misspelt", []string{"ipv6s=true"}, Prefix + "ipv6s", "unknown key: correct it to flock.fritzlab.net/ipv6, flock.fritzlab.net/ipv4, or remove it"},
		{"misspelt list", []string{"anycats=10.0.0.1"}, Prefix + "anycats", "unknown key: correct it to flock.fritzlab.net/anycast, or remove it"},
		{"invented", []string{"bandwidth=7"}, Prefix + "bandwidth", "unknown key: correct it to flock.fritzlab.net/ipv6, flock.fritzlab.net/ipv4, flock.fritzlab.net/cidr6, " +
			"flock.fritzlab.net/cidr4, flock.fritzlab.net/ip-algo, flock.fritzlab.net/addresses, flock.fritzlab.net/anycast, or remove it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			all := annotations(tt.in...)
			got, err := Parse(all)
			var bad *Error
			if !errors.As(err, &bad) {
				t.Fatalf("Parse = %s, %v; want an *Error", draw(got), err)
			}
			want := Error{Key: tt.key, Value: all[tt.key], Err: errors.New(tt.want)}
			if diff := cmp.Diff(want.Error(), err.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestErrorQuotes(t *testing.T) {
	err := &Error{Key: "a\nb", Value: "{" + strings.Repeat("x", 300), Err: errors.New("bad")}
	want := `read annotation "a\nb" with value "{` + strings.Repeat("x", 199) + `": bad`
	if got := err.Error(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMerge(t *testing.T) {
	on, off := new(true), new(false)
	tests := []struct {
		name string
		pod  []string
		node Defaults
		want string
	}{
		{"nobody says", nil, Defaults{}, ""},
		{"the node says", nil, Defaults{IPv6: on, IPv4: off, IPAlgo: []Field{Image}}, "ipv6=true ipv4=false ip-algo=[image]"},
		{"the pod wins", []string{"ipv6=false", "ipv4=true", "ip-algo=pod"}, Defaults{IPv6: on, IPv4: off, IPAlgo: []Field{Image}}, "ipv6=false ipv4=true ip-algo=[pod]"},
		{"a CIDR asks for its family", []string{"cidr4=10.0.0.0/28"}, Defaults{IPv4: off}, "ipv4=true cidr4=10.0.0.0/28"},
		{"an address asks for its family", []string{"addresses=10.0.0.7"}, Defaults{IPv4: off, IPv6: off}, "ipv6=false ipv4=true addresses=[10.0.0.7]"},
		{"anycast does not", []string{"anycast=10.0.0.7"}, Defaults{IPv4: off}, "ipv4=false anycast=[10.0.0.7]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pod, err := Parse(annotations(tt.pod...))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, draw(pod.Merge(tt.node))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestFix(t *testing.T) {
	tests := []struct {
		name string
		pod  []string
		fix  []string
		want string
	}{
		{"alone", nil, []string{"10.0.0.7", "2001:db8::7"}, "addresses=[10.0.0.7 2001:db8::7]"},
		{"of no use", nil, []string{"127.0.0.1"}, `read annotation "flock.fritzlab.net/addresses" with value "127.0.0.1": 127.0.0.1 is a loopback address, which no pod can have`},
		{"against the annotation", []string{"addresses=10.0.0.7"}, []string{"10.0.0.8"},
			`read annotation "flock.fritzlab.net/addresses" with value "10.0.0.8": the pod's annotation names addresses too: remove one of the two`},
		{"of a family switched off", []string{"ipv4=false"}, []string{"10.0.0.8"},
			`read annotation "flock.fritzlab.net/addresses" with value "10.0.0.8": asks for IPv4, which flock.fritzlab.net/ipv4 switches off`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pod, err := Parse(annotations(tt.pod...))
			if err != nil {
				t.Fatal(err)
			}
			fixed, err := pod.Fix(tt.fix)
			got := draw(fixed)
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("ipv6", "true")
	f.Add("cidr6", "2001:db8::/64")
	f.Add("cidr4", "::ffff:10.0.0.0/104")
	f.Add("ip-algo", "namespace, pod")
	f.Add("addresses", "10.0.0.1,2001:db8::1%eth0")
	f.Add("anycast", "ff02::1\n{")
	f.Add("ipv6s", "")
	f.Fuzz(func(t *testing.T, key, value string) {
		r, err := Parse(map[string]string{Prefix + key: value})
		if err != nil {
			if bad := (*Error)(nil); !errors.As(err, &bad) || strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("%q=%q: error %q", key, value, err)
			}
			return
		}
		for _, a := range append(r.Addresses, r.Anycast...) {
			if !a.IsGlobalUnicast() || a.Zone() != "" || a.Is4In6() {
				t.Errorf("%q=%q: accepted %s", key, value, a)
			}
		}
		for _, p := range []netip.Prefix{r.CIDR6, r.CIDR4} {
			if p.IsValid() && p != p.Masked() {
				t.Errorf("%q=%q: accepted %s", key, value, p)
			}
		}
	})
}
