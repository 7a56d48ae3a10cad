// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"math"
	"net/netip"
	"regexp"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"flock.fritzlab.net/flock/internal/pool"
)

// Parse returns what the NodeConfig means, defaults filled in, or everything that is wrong with it, each error with
// its field and what to write instead. The NodeConfig stays as it is.
func (c *NodeConfig) Parse() (*Config, field.ErrorList) {
	defaulted := *c
	defaulted.Default()
	p := parser{}
	config := p.config(&defaulted)
	if len(p.errs) > 0 {
		return nil, p.errs
	}
	return config, nil
}

// parser turns the written form into the typed one and collects what is wrong on the way.
//
// +kubebuilder:object:generate=false
type parser struct{ errs field.ErrorList }

func (p *parser) invalid(path *field.Path, value any, detail string) {
	p.errs = append(p.errs, field.Invalid(path, value, detail))
}

func (p *parser) required(path *field.Path, detail string) {
	p.errs = append(p.errs, field.Required(path, detail))
}

func (p *parser) config(c *NodeConfig) *Config {
	spec := field.NewPath("spec")
	if c.Name == "" {
		p.required(field.NewPath("metadata", "name"), "name the NodeConfig as its node")
	}
	if mtu := c.Spec.MTU; mtu != 0 && (mtu < 1280 || mtu > math.MaxUint16) {
		p.invalid(spec.Child("mtu"), mtu, "use 1280 to 65535, or remove it to take the uplink's")
	}
	if s := c.Spec.SummaryRoute; s != SummaryBlackhole && s != SummaryUnreachable {
		p.errs = append(p.errs, field.NotSupported(spec.Child("summaryRoute"), s,
			[]SummaryRoute{SummaryBlackhole, SummaryUnreachable}))
	}
	config := &Config{
		Name:         c.Name,
		Pools:        p.pools(spec.Child("pools"), c.Spec.Pools),
		Defaults:     p.defaults(spec.Child("defaults"), c.Spec.Defaults),
		MTU:          int(c.Spec.MTU),
		SummaryRoute: c.Spec.SummaryRoute,
	}
	if c.Spec.BGP != nil {
		config.BGP = p.bgp(spec.Child("bgp"), c.Spec.BGP)
	}
	if len(p.errs) == 0 {
		config.announce(c.Spec.Pools)
	}
	return config
}

// announce sorts the pools by how they are announced.
func (c *Config) announce(written []Pool) {
	for i, one := range c.Pools {
		switch {
		case written[i].Announce == AnnounceSummary:
			c.Summaries = append(c.Summaries, one.Prefix)
		case c.BGP != nil:
			c.BGP.ExportAccept = append(c.BGP.ExportAccept, one.Prefix)
		}
	}
}

// pools checks each pool alone first, so that every bad one is named, and then all together.
func (p *parser) pools(path *field.Path, pools []Pool) []pool.Pool {
	before := len(p.errs)
	specs := make([]pool.Spec, 0, len(pools))
	for i, one := range pools {
		if one.Name == "" {
			p.required(path.Index(i).Child("name"), "give the pool a name")
			continue
		}
		spec := pool.Spec{Name: one.Name, CIDR: one.CIDR, Gateway: one.Gateway, Reserved: one.Reserved, Allocator: one.Allocator}
		if _, err := pool.Parse([]pool.Spec{spec}); err != nil {
			p.invalid(path.Index(i), one.CIDR, err.Error())
		}
		if a := one.Announce; a != AnnounceSummary && a != AnnounceAddresses {
			p.errs = append(p.errs, field.NotSupported(path.Index(i).Child("announce"), a, []PoolAnnounce{AnnounceSummary, AnnounceAddresses}))
		}
		specs = append(specs, spec)
	}
	if len(p.errs) > before {
		return nil
	}
	parsed, err := pool.Parse(specs)
	if err != nil {
		p.invalid(path, field.OmitValueType{}, err.Error())
	}
	return parsed
}

func (p *parser) defaults(path *field.Path, d Defaults) ConfigDefaults {
	seen := map[IPAlgoField]bool{}
	for i, f := range d.IPAlgo {
		at := path.Child("ipAlgo").Index(i)
		switch {
		case f != IPAlgoNamespace && f != IPAlgoPod && f != IPAlgoImage:
			p.errs = append(p.errs, field.NotSupported(at, f, []IPAlgoField{IPAlgoNamespace, IPAlgoPod, IPAlgoImage}))
		case seen[f]:
			p.errs = append(p.errs, field.Duplicate(at, f))
		}
		seen[f] = true
	}
	if off(d.IPv6) && off(d.IPv4) {
		p.invalid(path, field.OmitValueType{}, "ipv6 and ipv4 are both false, which leaves pods without an address: remove one")
	}
	if d.CoolDown.Duration < 0 {
		p.invalid(path.Child("coolDown"), d.CoolDown.Duration.String(), "use 0s or more")
	}
	return ConfigDefaults{IPv6: d.IPv6, IPv4: d.IPv4, IPAlgo: d.IPAlgo, CoolDown: d.CoolDown.Duration}
}

func off(b *bool) bool { return b != nil && !*b }

func (p *parser) bgp(path *field.Path, b *BGP) *BGPConfig {
	if !peerNames.MatchString(b.Speaker) {
		p.invalid(path.Child("speaker"), b.Speaker, "write bird, or an extension's name: at most 40 of a-z, 0-9 and -")
	}
	config := &BGPConfig{
		Speaker:  b.Speaker,
		LocalASN: p.asn(path.Child("localASN"), b.LocalASN),
		RouterID: p.routerID(path.Child("routerID"), b.RouterID),
	}
	if b.ExportAccept == nil {
		config.ExportAccept = []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
	}
	for i, text := range b.ExportAccept {
		prefix, err := pool.ParsePrefix(text)
		if err != nil {
			p.invalid(path.Child("exportAccept").Index(i), text, err.Error())
		}
		config.ExportAccept = append(config.ExportAccept, prefix)
	}
	for i := range b.Peers {
		config.Peers = append(config.Peers, p.peer(path.Child("peers").Index(i), b, &b.Peers[i]))
	}
	p.distinctPeers(path.Child("peers"), b.Peers)
	p.sharedPasswords(path.Child("peers"), config.Peers)
	return config
}

// The AS numbers that stand for no AS: RFC 7607, RFC 6793 and RFC 7300.
var noASNs = map[int64]bool{0: true, 23456: true, 65535: true, math.MaxUint32: true}

func (p *parser) asn(path *field.Path, asn int64) uint32 {
	if asn < 0 || asn > math.MaxUint32 || noASNs[asn] {
		p.invalid(path, asn, "is no usable AS number: use 1 to 4294967294 but for 23456 and 65535; 64512 to 65534 are private")
	}
	return uint32(asn)
}

func (p *parser) routerID(path *field.Path, text string) netip.Addr {
	id, err := netip.ParseAddr(text)
	if err != nil || !id.Is4() || id.IsUnspecified() || id.IsMulticast() || id == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		p.invalid(path, text, "write it as an IPv4 unicast address such as 192.0.2.1, or remove it")
	}
	return id
}

// distinctPeers refuses two peers of one name, and two that one session would have to serve.
func (p *parser) distinctPeers(path *field.Path, peers []Peer) {
	names, ends := map[string]bool{}, map[string]bool{}
	for i, peer := range peers {
		if names[peer.Name] {
			p.errs = append(p.errs, field.Duplicate(path.Index(i).Child("name"), peer.Name))
		}
		end := peer.Interface
		if addr, err := netip.ParseAddr(peer.Address); err == nil {
			end = addr.String()
			if addr.IsLinkLocalUnicast() {
				end += "%" + peer.Interface
			}
		}
		if ends[end] {
			p.invalid(path.Index(i), end, "is another peer's already: keep one of them")
		}
		names[peer.Name], ends[end] = true, end != ""
	}
}

// sharedPasswords refuses a password where several sessions would share its place in the kernel, which
// knows a peer by its address, not by its interface: an unnumbered peer is all of fe80::/10.
func (p *parser) sharedPasswords(path *field.Path, peers []PeerConfig) {
	sharers := map[netip.Addr]int{}
	for _, peer := range peers {
		sharers[peer.Address]++
	}
	for i, peer := range peers {
		if peer.Password != nil && sharers[peer.Address] > 1 {
			p.invalid(path.Index(i).Child("passwordSecretRef"), peer.Password.Name,
				"several peers are unnumbered or have this link-local address, and the kernel could not tell their passwords apart: "+
					"give each peer an address of its own, or remove the passwords")
		}
	}
}

// seconds returns a duration that BGP can carry: whole seconds.
func (p *parser) seconds(path *field.Path, d *metav1.Duration, least, most time.Duration, detail string) time.Duration {
	if d.Duration < least || d.Duration > most || d.Duration%time.Second != 0 {
		p.invalid(path, d.Duration.String(), detail)
	}
	return d.Duration
}

// The characters of names that end up in a file name or in BIRD's configuration.
var (
	peerNames      = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$`)
	interfaceNames = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$`)
	secretNames    = regexp.MustCompile(`^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$`)
	secretKeys     = regexp.MustCompile(`^[-._A-Za-z0-9]{1,253}$`)
)

func (p *parser) secretRef(path *field.Path, ref *SecretKeyRef) {
	if ref == nil {
		return
	}
	if !secretNames.MatchString(ref.Name) {
		p.invalid(path.Child("name"), ref.Name, "write the Secret's name: a-z, 0-9, - and .")
	}
	if !secretKeys.MatchString(ref.Key) || strings.Trim(ref.Key, ".") == "" {
		p.invalid(path.Child("key"), ref.Key, "write the Secret's key: letters, digits, - _ and .")
	}
}
