// SPDX-License-Identifier: Apache-2.0

package allocate

import (
	"encoding/binary"
	"net/netip"
	"time"

	"flock.fritzlab.net/flock/internal/pool"
	"flock.fritzlab.net/flock/internal/store"
)

// tries is how often a random address is drawn before the source is searched: so often only a source
// that is nearly full disappoints.
const tries = 16

// search looks for free addresses in one transaction.
type search struct {
	tx       *store.Tx
	now      time.Duration // since boot
	coolDown time.Duration
	random   func() uint64
	answers  map[netip.Prefix]answer
}

// cold returns a free address of the source that is not cooling down, and false when there is none.
func (s search) cold(in source) (netip.Addr, bool, error) {
	if in.sequential() {
		start, err := s.next(in)
		if err != nil {
			return netip.Addr{}, false, err
		}
		return s.around(in, start)
	}
	var drawn netip.Addr
	for range tries {
		drawn = randomIn(in.part, s.random)
		if in.SetAside(drawn) {
			continue
		}
		h, known, err := s.tx.Holder(drawn)
		if err != nil || !known || s.usable(h) {
			return drawn, err == nil, err
		}
	}
	return s.around(in, drawn)
}

// next returns where a sequential source goes on.
func (s search) next(in source) (netip.Addr, error) {
	start := in.part.Addr()
	if !in.cursor.IsValid() {
		return start, nil
	}
	last, found, err := s.tx.Cursor(in.cursor)
	if found && in.part.Contains(last) {
		start = last.Next()
	}
	return start, err
}

// sequential tells whether the source gives the lowest address after the last one given, rather than any: as the
// pool says, or else so that IPv4 addresses, which are few, are given again late.
func (s source) sequential() bool {
	if s.Allocator == "" {
		return s.Family() == pool.IPv4
	}
	return s.Allocator == pool.Sequential
}

// usable tells whether somebody had the address, and it is cold.
func (s search) usable(h store.Holder) bool { return h.Free() && !h.Cooling(s.now, s.coolDown) }

// around returns the lowest cold address from start upwards, and then from the source's beginning.
func (s search) around(in source, start netip.Addr) (netip.Addr, bool, error) {
	addr, ok, err := s.above(in, start)
	if err != nil || ok {
		return addr, ok, err
	}
	return s.above(in, in.part.Addr())
}

// above walks the known addresses of the source beside those that could be given: the first that is not
// known, or known and cold, is it.
func (s search) above(in source, from netip.Addr) (netip.Addr, bool, error) {
	candidate, ok := in.next(from)
	if !ok {
		return netip.Addr{}, false, nil
	}
	err := s.tx.Scan(in.part, candidate, func(known netip.Addr, h store.Holder) bool {
		if known.Less(candidate) {
			return true // set aside, but somebody has it
		}
		if candidate.Less(known) || s.usable(h) {
			return false
		}
		candidate, ok = in.next(known.Next())
		return ok
	})
	return candidate, ok && err == nil, err
}

// next returns the lowest address of the source from the given one upwards that may be allocated.
func (s source) next(from netip.Addr) (netip.Addr, bool) {
	if !s.part.Contains(from) {
		return netip.Addr{}, false
	}
	addr, ok := s.Next(from)
	return addr, ok && s.part.Contains(addr)
}

// coolest returns the address of ordinary sources that was released longest ago, and false when none was.
func (s search) coolest(sources []source) (p picked, ok bool, err error) {
	if len(sources) == 0 {
		return picked{}, false, nil
	}
	err = s.tx.Released(func(released netip.Addr, _ time.Duration) bool {
		for _, in := range sources {
			if in.part.Contains(released) && !in.SetAside(released) {
				p, ok = in.picked(released), true
			}
		}
		return !ok
	})
	return p, ok && err == nil, err
}

// randomIn returns a random address of a prefix.
func randomIn(prefix netip.Prefix, random func() uint64) netip.Addr {
	var host [16]byte
	binary.BigEndian.PutUint64(host[:8], random())
	binary.BigEndian.PutUint64(host[8:], random())
	raw := prefix.Masked().Addr().AsSlice()
	low := host[len(host)-len(raw):]
	for i := range raw {
		free := min(max(8*(i+1)-prefix.Bits(), 0), 8) // bits of this byte that the prefix leaves
		raw[i] |= low[i] & byte(1<<free-1)
	}
	addr, _ := netip.AddrFromSlice(raw)
	return addr
}
