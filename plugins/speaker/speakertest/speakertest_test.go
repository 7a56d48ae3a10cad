// SPDX-License-Identifier: Apache-2.0

package speakertest

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"flock.fritzlab.net/flock/plugins/speaker"
	"flock.fritzlab.net/flock/test/lab"
	"flock.fritzlab.net/flock/test/suite"
)

// program is speaker-gobgp, of whose deeds the faults make wrong ones.
var program string

func TestMain(m *testing.M) { os.Exit(suite.Main(m, "../speaker-gobgp", &program)) }

func withBFD(c *speaker.Config) string {
	c.Peers[0].BFD = speaker.BFDImmediate
	return "bgp.peers[" + c.Peers[0].Name + "].bfd"
}

func TestRightSpeakerKeepsEveryRule(t *testing.T) {
	Run(t, Options{Start: Program(program), Refused: withBFD})
}

// faulty does one thing wrong.
type faulty struct {
	speaker.Speaker
	fault fault
	last  *speaker.Config
}

// fault is what becomes of configs, statuses and stops, each as it should be where it is nil.
type fault struct {
	config func(c *speaker.Config)
	status func(s *speaker.Status, config speaker.Config)
	stop   func(speaker.StopMode) speaker.StopMode
	err    func(error) error
}

func (f *faulty) Configure(ctx context.Context, c speaker.Config) error {
	c.Peers = slices.Clone(c.Peers)
	if f.fault.config != nil {
		f.fault.config(&c)
	}
	f.last = &c
	err := f.Speaker.Configure(ctx, c)
	if f.fault.err != nil {
		err = f.fault.err(err)
	}
	return err
}

func (f *faulty) Status(ctx context.Context, announced []netip.Prefix) (speaker.Status, error) {
	s, err := f.Speaker.Status(ctx, announced)
	if f.fault.status != nil && f.last != nil {
		f.fault.status(&s, *f.last)
	}
	return s, err
}

func (f *faulty) Stop(ctx context.Context, mode speaker.StopMode) error {
	if f.fault.stop != nil {
		mode = f.fault.stop(mode)
	}
	return f.Speaker.Stop(ctx, mode)
}

// each changes every peer.
func each(change func(*speaker.Peer)) fault {
	return fault{config: func(c *speaker.Config) {
		for i := range c.Peers {
			change(&c.Peers[i])
		}
	}}
}

func not(mode speaker.StopMode) speaker.StopMode { return speaker.StopNow - mode }

// sometimes changes the config every other time.
func sometimes(change func(*speaker.Config)) fault {
	odd := false
	return fault{config: func(c *speaker.Config) {
		if odd = !odd; !odd {
			change(c)
		}
	}}
}

// faults are by the rules that have to see them.
func faults() map[string]fault {
	everything := []netip.Prefix{netip.MustParsePrefix("::/0"), netip.MustParsePrefix("0.0.0.0/0")}
	med := uint32(1)
	return map[string]fault{
		"sessions":      each(func(p *speaker.Peer) { p.ASN++ }),
		"announces":     {config: func(c *speaker.Config) { c.ExportAccept = nil }},
		"dead-link":     {config: func(c *speaker.Config) { c.Table++ }},
		"export-list":   {config: func(c *speaker.Config) { c.ExportAccept = everything }},
		"own-only":      each(func(p *speaker.Peer) { p.ImportAccept = nil }),
		"next-hop-self": each(func(p *speaker.Peer) { p.LocalAddress = netip.MustParseAddr("fd00:1::2") }),
		"imports":       each(func(p *speaker.Peer) { p.ImportAccept = accept("::/0", 128) }),
		"own-links":     {config: func(c *speaker.Config) { c.Own = nil }},
		"max-prefixes":  each(func(p *speaker.Peer) { p.MaxPrefixes = 1000 }),
		"ecmp":          {config: func(c *speaker.Config) { c.Peers = c.Peers[:min(len(c.Peers), 3)] }},
		"peer-dies":     each(func(p *speaker.Peer) { p.GracefulRestart, p.HoldTime = true, time.Hour }),
		"reflected":     {config: func(c *speaker.Config) { c.ExportAccept = nil }},
		"md5":           each(func(p *speaker.Peer) { p.Password = speaker.Password{} }),
		"md5-wrong": each(func(p *speaker.Peer) {
			if p.Password.Reveal() == "wrong" {
				p.Password = speaker.NewPassword(password)
			}
		}),
		"ipv4-over-ipv6":  each(func(p *speaker.Peer) { p.IPv4 = false }),
		"ipv4-link-local": each(func(p *speaker.Peer) { p.ImportAccept = nil }),
		"unnumbered":      each(func(p *speaker.Peer) { p.Interface = "pod" }),
		"multihop":        each(func(p *speaker.Peer) { p.Multihop = 0 }),
		"attributes":      each(func(p *speaker.Peer) { p.MED = &med }),
		"same-config":     sometimes(func(c *speaker.Config) { c.Peers = nil }),
		"other-peer": {config: func(c *speaker.Config) {
			c.Peers[0].HoldTime += time.Duration(len(c.Peers)) * time.Second
		}},
		"filters-live": {config: func(c *speaker.Config) { c.ExportAccept = everything }},
		"no-peers": {config: func(c *speaker.Config) {
			if len(c.Peers) == 0 {
				c.Peers = []speaker.Peer{tor6(1)}
			}
		}},
		"refused":       {err: func(error) error { return nil }},
		"stop-graceful": {stop: not},
		"killed":        each(func(p *speaker.Peer) { p.GracefulRestart = false }),
		"stale":         {stop: not},
		"stop-now":      {stop: not},
		"status": {status: func(s *speaker.Status, c speaker.Config) {
			for i := range s.Sessions {
				s.Sessions[i].State = speaker.Established
			}
		}},
	}
}

// find returns what the rule says of the speaker, "" when the speaker keeps it.
func find(r Rule, o Options) string {
	return suite.Failure(func(t *suite.Recorder) { r.play(t, o) })
}

func TestEveryRuleSeesItsFault(t *testing.T) {
	all := faults()
	for _, r := range Rules() {
		fault, is := all[r.Name]
		if !is {
			t.Errorf("there is no fault against %s", r.Name)
			continue
		}
		t.Run(r.Name, func(t *testing.T) {
			t.Parallel()
			right := Program(program)
			o := Options{Refused: withBFD, Timeout: 5 * time.Second}
			o.Start = func(n *lab.Netns, folder string) (speaker.Speaker, func(), error) {
				s, kill, err := right(n, folder)
				return &faulty{Speaker: s, fault: fault}, kill, err
			}
			if found := find(r, o); !strings.HasPrefix(found, "rule: "+r.Says) {
				t.Errorf("the rule finds %q", found)
			}
		})
	}
}
