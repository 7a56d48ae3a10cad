// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"

	"github.com/containernetworking/cni/pkg/types"
)

// flock's own error codes; the specification (section 2, "Error") leaves 100 and up to plugins. [Codes]
// says what each means and what to do about it.
const (
	CodeNoPool           uint = 100 + iota // a family is wanted that no pool serves
	CodePoolExhausted                      // no free address in any pool of the family
	CodeBadAnnotation                      // an annotation's value cannot be honoured
	CodeAddressTaken                       // a fixed address belongs to another attachment
	CodeStoreUnreadable                    // the store cannot be opened or read
	CodeStoreFull                          // the store cannot be written
	CodeIfNameExists                       // the pod already has an interface of that name
	CodeHostLinkTaken                      // the host-side name belongs to a stranger
	CodeNoHostInterface                    // prevResult names no host-side interface
	CodeCheckMismatch                      // CHECK found a difference
	CodeKernel                             // the kernel refused a change
	CodeAllocatorRefused                   // a pool's allocator does not serve the pod
	CodeAllocatorWrong                     // a pool's allocator gave what no pod may have
)

// Code describes one error code of flock's own.
type Code struct {
	Code    uint
	Name    string
	Meaning string
	Remedy  string
}

// Codes lists flock's own error codes in order.
var Codes = []Code{
	{CodeNoPool, "NoPool", "a family is wanted that no pool of the node serves",
		"add a pool of that family to NodeConfig, node.json or the plugin's pools, or ask for the other family"},
	{CodePoolExhausted, "PoolExhausted", "every address of every eligible pool is allocated or reserved",
		"add a pool, enlarge one, or remove pods from the node"},
	{CodeBadAnnotation, "BadAnnotation", "an annotation's value does not parse, or asks for what cannot be given",
		"correct the annotation that the message quotes and create the pod again"},
	{CodeAddressTaken, "AddressTaken", "a fixed address already belongs to another attachment",
		"remove the pod that holds it, or ask for another address"},
	{CodeStoreUnreadable, "StoreUnreadable", "the allocation store cannot be opened or read",
		"look at the file that the message names; a damaged one is kept aside and rebuilt at the next request"},
	{CodeStoreFull, "StoreFull", "the allocation store cannot be written, most often for want of space",
		"free space in the file system of stateDir"},
	{CodeIfNameExists, "IfNameExists", "the pod already has an interface of that name which is not this attachment's",
		"use another CNI_IFNAME, or remove the interface from the pod's network namespace"},
	{CodeHostLinkTaken, "HostLinkTaken", "the host-side interface name belongs to something else",
		"remove or rename the interface that the message names"},
	{CodeNoHostInterface, "NoHostInterface", "prevResult names no interface on the host side",
		"put the plugin after one that leaves an interface on the host: flock-veth, ptp or bridge"},
	{CodeCheckMismatch, "CheckMismatch", "CHECK found the attachment different from its prevResult",
		"recreate the pod; the message names the first difference"},
	{CodeKernel, "Kernel", "the kernel refused a change that the attachment needs",
		"the message holds the kernel's own words; look at the node's kernel log and limits"},
	{CodeAllocatorRefused, "AllocatorRefused", "the pool's allocator does not serve such a pod",
		"the message holds the allocator's own words; change the pod, or have it ask for another pool by cidr6 or cidr4"},
	{CodeAllocatorWrong, "AllocatorWrong", "the pool's allocator gave an address that no pod may have",
		"the allocator is at fault: look at ipamd's log, and hold the allocator to allocatortest"},
}

// Wrap returns err as a CNI error with the code: err's text is the message, and for flock's own codes
// the remedy is the details. An err that holds a CNI error already is returned as it is; nil stays nil.
func Wrap(code uint, err error) error {
	if coded := (*types.Error)(nil); err == nil || errors.As(err, &coded) {
		return err
	}
	return types.NewError(code, err.Error(), remedy(code))
}

func remedy(code uint) string {
	for _, c := range Codes {
		if c.Code == code {
			return c.Remedy
		}
	}
	return ""
}
