// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// ipamdAddress is where ipamd serves, in the node's namespace.
const ipamdAddress = "127.0.0.1:7274"

// get returns what a daemon on the node answers.
func (s *site) get(address, path string) (string, error) {
	client := http.Client{Timeout: within, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			err = s.Do(func() (err error) {
				conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
				return err
			})
			return conn, err
		},
	}}
	response, err := client.Get("http://" + address + path)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return string(body), err
}

// metric returns the sum over all labels of one of ipamd's metrics.
func (s *site) metric(name string) (sum float64, err error) {
	text, err := s.get(ipamdAddress, "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); strings.HasPrefix(line, name+" ") || strings.HasPrefix(line, name+"{") {
			value, err := strconv.ParseFloat(fields[len(fields)-1], 64)
			if err != nil {
				return 0, fmt.Errorf("read metric %s: %w", name, err)
			}
			sum += value
		}
	}
	return sum, nil
}

// awaitComparisons waits until ipamd has compared the store with the node so many times from now on.
func (s *site) awaitComparisons(n int) {
	s.t.Helper()
	start := -1.0
	await(s.t, fmt.Sprintf("ipamd has compared %d times", n), func() error {
		rounds, err := s.metric("flock_ipamd_reconcile_rounds_total")
		if err == nil && start < 0 {
			start = rounds
		}
		if err == nil && rounds < start+float64(n) {
			err = fmt.Errorf("it has %g times", rounds-start)
		}
		return err
	})
}

// awaitReadiness waits until ipamd says that it is ready.
func (s *site) awaitReadiness() {
	s.t.Helper()
	await(s.t, "ipamd is ready", func() error {
		_, err := s.get(ipamdAddress, "/readyz")
		return err
	})
}
