// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Request is one netlink message, and the words that name it where the kernel refuses it.
type Request struct {
	verb   string
	object any
	msg    nl.NetlinkRequest
}

// NewRequest returns a message of the type, its parts in order: the type's header, then attributes. A
// refusal is called "VERB OBJECT: " and what the kernel says.
func NewRequest(verb string, object any, msgType, flags int, parts ...nl.NetlinkRequestData) *Request {
	hdr := unix.NlMsghdr{Type: uint16(msgType), Flags: uint16(unix.NLM_F_REQUEST | flags)}
	return &Request{verb: verb, object: object, msg: nl.NetlinkRequest{NlMsghdr: hdr, Data: parts}}
}

func (r *Request) wrap(err error) error { return fmt.Errorf("%s %v: %w", r.verb, r.object, err) }

// refusal returns the error that an acknowledgement or the end of a dump holds, nil for a success.
func (r *Request) refusal(m syscall.NetlinkMessage) error {
	errno := -Uint32(m.Data[:min(4, len(m.Data))])
	if errno == 0 {
		return nil
	}
	err := r.wrap(unix.Errno(errno))
	if text := explanation(m.Header, m.Data[4:]); text != "" {
		err = fmt.Errorf("%w (%s)", err, text)
	}
	return err
}

// explanation returns the kernel's own words. In an acknowledgement they follow the request.
func explanation(hdr syscall.NlMsghdr, payload []byte) string {
	if hdr.Flags&unix.NLM_F_ACK_TLVS == 0 {
		return ""
	}
	if hdr.Type == unix.NLMSG_ERROR && len(payload) >= unix.NLMSG_HDRLEN {
		skip := unix.NLMSG_HDRLEN
		if hdr.Flags&unix.NLM_F_CAPPED == 0 {
			skip = Align(int(binary.NativeEndian.Uint32(payload)))
		}
		payload = payload[min(skip, len(payload)):]
	}
	return unix.ByteSliceToString(Find(payload, nl.NLMSGERR_ATTR_MSG))
}

// Align rounds a length up to where the next message or attribute begins.
func Align(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }

// Attrs yields the type and value of each attribute, and stops at one that is cut short.
func Attrs(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofRtAttr {
			size := int(binary.NativeEndian.Uint16(b))
			if size < unix.SizeofRtAttr || size > len(b) {
				return
			}
			kind := binary.NativeEndian.Uint16(b[2:]) & nl.NLA_TYPE_MASK
			if !yield(kind, b[unix.SizeofRtAttr:size]) {
				return
			}
			b = b[min(Align(size), len(b)):]
		}
	}
}

// Find returns the value of the first attribute of a type, nil where there is none.
func Find(b []byte, want uint16) []byte {
	for kind, value := range Attrs(b) {
		if kind == want {
			return value
		}
	}
	return nil
}

// Uint32Attr returns an attribute of four bytes.
func Uint32Attr[T ~int | ~uint32](kind int, v T) *nl.RtAttr {
	return nl.NewRtAttr(kind, nl.Uint32Attr(uint32(v)))
}

// AddrAttr returns an attribute that holds an address.
func AddrAttr(kind int, a netip.Addr) *nl.RtAttr { return nl.NewRtAttr(kind, a.AsSlice()) }

// Uint32 reads an attribute's value; one of another size than four bytes is 0.
func Uint32(value []byte) int {
	if len(value) != 4 {
		return 0
	}
	return int(int32(binary.NativeEndian.Uint32(value)))
}

// Addr reads an attribute's value; one that is no address is the zero address.
func Addr(value []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(value)
	return a
}

// Family returns the address's family, unix.AF_INET or AF_INET6.
func Family(addr netip.Addr) int {
	if addr.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// Short is the error for an object of the kernel's that has too few bytes.
func Short(what string, b []byte) error {
	return fmt.Errorf("read %s from netlink: it is cut short after %d bytes", what, len(b))
}
