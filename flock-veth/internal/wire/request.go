// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Request is one netlink message, and the words that name it where the kernel refuses it.
type Request struct {
	verb   string
	object fmt.Stringer
	msg    *nl.NetlinkRequest
}

func newRequest(verb string, object fmt.Stringer, msgType, flags int, data ...nl.NetlinkRequestData) *Request {
	msg := &nl.NetlinkRequest{NlMsghdr: unix.NlMsghdr{Type: uint16(msgType), Flags: uint16(unix.NLM_F_REQUEST | flags)}}
	msg.Data = data
	return &Request{verb: verb, object: object, msg: msg}
}

// refusal returns the error that an acknowledgement or the end of a dump holds, nil for a success.
func (r *Request) refusal(hdr unix.NlMsghdr, payload []byte) error {
	if len(payload) < 4 {
		return nil
	}
	errno := int32(binary.NativeEndian.Uint32(payload))
	if errno == 0 {
		return nil
	}
	err := fmt.Errorf("%s %s: %w", r.verb, r.object, unix.Errno(-errno))
	if text := explanation(hdr, payload[4:]); text != "" {
		err = fmt.Errorf("%w (%s)", err, text)
	}
	return err
}

// explanation returns the kernel's own words. In an acknowledgement they follow the request.
func explanation(hdr unix.NlMsghdr, payload []byte) string {
	if hdr.Flags&unix.NLM_F_ACK_TLVS == 0 {
		return ""
	}
	if hdr.Type == unix.NLMSG_ERROR && len(payload) >= unix.NLMSG_HDRLEN {
		skip := unix.NLMSG_HDRLEN
		if hdr.Flags&unix.NLM_F_CAPPED == 0 {
			skip = align(int(header(payload).Len))
		}
		payload = payload[min(skip, len(payload)):]
	}
	return unix.ByteSliceToString(find(payload, nl.NLMSGERR_ATTR_MSG))
}

// attrs yields the type and value of each attribute, and stops at one that is cut short.
func attrs(b []byte) iter.Seq2[uint16, []byte] {
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
			b = b[min(align(size), len(b)):]
		}
	}
}

// find returns the value of the first attribute of a type, nil where there is none.
func find(b []byte, want uint16) []byte {
	for kind, value := range attrs(b) {
		if kind == want {
			return value
		}
	}
	return nil
}

func uint32Attr(kind int, v int) *nl.RtAttr { return nl.NewRtAttr(kind, nl.Uint32Attr(uint32(v))) }

func addrAttr(kind int, a netip.Addr) *nl.RtAttr { return nl.NewRtAttr(kind, a.AsSlice()) }

// uint32Of reads an attribute's value; one of another size is 0.
func uint32Of(value []byte) int {
	if len(value) != 4 {
		return 0
	}
	return int(int32(binary.NativeEndian.Uint32(value)))
}

func short(what string, b []byte) error {
	return fmt.Errorf("read %s from netlink: it is cut short after %d bytes", what, len(b))
}

// family returns the address family of an address.
func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func addrOf(value []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(value)
	return a
}
