// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
)

// contact watches whether the API server answers.
type contact struct{ report atomic.Pointer[func(error)] }

// OnContact has each exchange with the API server reported: nil where it answered, else the error, whose
// text is the same for every request that fails for the same reason. A refusal of one request, 404 or
// 403, is an answer; 401 is not, since then every request is refused.
func (c *Client) OnContact(report func(error)) { c.contact.report.Store(&report) }

func (c *contact) wrap(next http.RoundTripper) http.RoundTripper { return roundTripper{c, next} }

type roundTripper struct {
	contact *contact
	next    http.RoundTripper
}

// RoundTrip makes the exchange and reports on it.
func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := r.next.RoundTrip(request)
	err = stable(err)
	report := r.contact.report.Load()
	if report == nil || errors.Is(err, context.Canceled) || request.Context().Err() != nil {
		return response, err
	}
	switch {
	case err != nil:
		(*report)(err)
	case response.StatusCode == http.StatusUnauthorized || response.StatusCode >= http.StatusInternalServerError:
		(*report)(fmt.Errorf("the API server answers %s", response.Status))
	default:
		(*report)(nil)
	}
	return response, err
}

// stable returns an error of the network without what differs from one connection to the next, the local port and
// whether it was read or written: who logs what changes would log every attempt.
func stable(err error) error {
	op := (*net.OpError)(nil)
	if !errors.As(err, &op) {
		return err
	}
	reason := op.Err
	if call := (*os.SyscallError)(nil); errors.As(reason, &call) {
		reason = call.Err
	}
	return &net.OpError{Op: "reach", Net: op.Net, Addr: op.Addr, Err: reason}
}
