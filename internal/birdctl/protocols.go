// SPDX-License-Identifier: Apache-2.0

package birdctl

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Protocol is one of BIRD's protocols.
type Protocol struct {
	Name string
	// Type is "BGP", "Kernel", "Pipe" and so on.
	Type  string
	Table string
	// State is the protocol's own: "up", "start", "stop", "down" or "flush".
	State string
	// Since is when the protocol got into its state, as BIRD's configuration says to write it.
	Since string
	Info  string
	// BGPState is "Established" and the other states of BGP, "Passive" for an unnumbered peer that
	// waits; empty for a protocol that is no BGP session, or down.
	BGPState string
	// LastError is the last one of a BGP session, in BIRD's words.
	LastError string

	// The rest is known after [Conn.ShowProtocolsAll] alone.

	// Neighbor is the peer's address, with its interface as the zone where that is needed.
	Neighbor    netip.Addr
	NeighborASN uint32
	Channels    []Channel
}

// Channel is one address family of a BGP session.
type Channel struct {
	// Name is "ipv4" or "ipv6".
	Name  string
	State string
	// Imported counts the routes that the import filter took, Exported those that were sent.
	Imported, Exported int
}

// Established tells whether the protocol is a BGP session that is up.
func (p Protocol) Established() bool { return p.BGPState == "Established" }

// SinceTime returns Since as a time, and whether BIRD wrote it with its date ("timeformat protocol iso
// long") so that it can be.
func (p Protocol) SinceTime() (time.Time, bool) {
	t, err := time.ParseInLocation(time.DateTime, p.Since, time.Local)
	return t, err == nil
}

// Imported returns the number of routes taken over all address families.
func (p Protocol) Imported() int { return p.sum(func(c Channel) int { return c.Imported }) }

// Exported returns the number of routes sent over all address families.
func (p Protocol) Exported() int { return p.sum(func(c Channel) int { return c.Exported }) }

func (p Protocol) sum(count func(Channel) int) int {
	total := 0
	for _, c := range p.Channels {
		total += count(c)
	}
	return total
}

// ShowProtocols returns all protocols, without what is known of their sessions.
func (c *Conn) ShowProtocols(ctx context.Context) ([]Protocol, error) {
	return c.showProtocols(ctx, "show protocols")
}

// ShowProtocolsAll returns all protocols with everything known of them.
func (c *Conn) ShowProtocolsAll(ctx context.Context) ([]Protocol, error) {
	return c.showProtocols(ctx, "show protocols all")
}

func (c *Conn) showProtocols(ctx context.Context, command string) ([]Protocol, error) {
	reply, err := c.Do(ctx, command)
	if err != nil {
		return nil, err
	}
	return parseProtocols(reply), nil
}

func parseProtocols(reply Reply) []Protocol {
	var all []Protocol
	for _, line := range reply.Lines {
		switch {
		case line.Code == codeProtocol && strings.TrimSpace(line.Text) != "":
			all = append(all, parseProtocol(line.Text))
		case line.Code == codeDetail && len(all) > 0:
			all[len(all)-1].detail(line.Text)
		}
	}
	return all
}

// parseProtocol reads "name type table state since  info": since may hold one space, not two.
func parseProtocol(text string) Protocol {
	var p Protocol
	rest := text
	for _, field := range []*string{&p.Name, &p.Type, &p.Table, &p.State} {
		*field, rest = nextWord(rest)
	}
	since, info, _ := strings.Cut(strings.TrimLeft(rest, " "), "  ")
	p.Since, p.Info = since, strings.TrimSpace(info)
	if p.Type == "BGP" {
		p.setBGPState()
	}
	return p
}

// setBGPState reads "Established" or "Active  error" from Info, which is the error alone when the
// protocol is down.
func (p *Protocol) setBGPState() {
	p.LastError = p.Info
	if p.State == "down" {
		return
	}
	p.BGPState, p.LastError = nextWord(p.Info)
	p.LastError = strings.TrimSpace(p.LastError)
}

func nextWord(text string) (word, rest string) {
	word, rest, _ = strings.Cut(strings.TrimLeft(text, " "), " ")
	return word, rest
}

// detail reads one line of "show protocols all", "  Channel ipv6" or "    Label:  value".
func (p *Protocol) detail(text string) {
	text = strings.TrimSpace(text)
	if name, ok := strings.CutPrefix(text, "Channel "); ok {
		p.Channels = append(p.Channels, Channel{Name: name})
		return
	}
	label, value, _ := strings.Cut(text, ":")
	value = strings.TrimSpace(value)
	switch label {
	case "Neighbor address":
		p.Neighbor, _ = netip.ParseAddr(value)
	case "Neighbor AS":
		asn, _ := strconv.ParseUint(value, 10, 32)
		p.NeighborASN = uint32(asn)
	case "State", "Routes":
		if n := len(p.Channels); n > 0 {
			p.Channels[n-1].detail(label, value)
		}
	}
}

// detail reads "UP" or "1 imported, 0 filtered, 3 exported, 1 preferred".
func (c *Channel) detail(label, value string) {
	if label == "State" {
		c.State = value
		return
	}
	for part := range strings.SplitSeq(value, ", ") {
		number, what, _ := strings.Cut(part, " ")
		n, _ := strconv.Atoi(number)
		switch what {
		case "imported":
			c.Imported = n
		case "exported":
			c.Exported = n
		}
	}
}
