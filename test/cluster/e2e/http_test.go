// SPDX-License-Identifier: Apache-2.0

//go:build cluster

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"flock.fritzlab.net/flock/test/cluster/flow"
	"flock.fritzlab.net/flock/test/lab"
)

// request sends an HTTP request from the namespace over a new connection, and returns the answer's body.
func request(ctx context.Context, from *lab.Netns, method, url string) (string, error) {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			err = from.Do(func() error {
				conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
				return err
			})
			return conn, err
		},
	}}
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, url, response.Status, body)
	}
	return strings.TrimSpace(string(body)), err
}

// fetch asks a testpod who it is.
func fetch(ctx context.Context, from *lab.Netns, to netip.AddrPort) (string, error) {
	return request(ctx, from, http.MethodGet, "http://"+to.String()+"/")
}

// tell sends a testpod a command, from the router.
func (s *space) tell(pod netip.Addr, method, path string) string {
	s.Helper()
	answer, err := request(s.Context(), site.Router.Netns, method, "http://"+netip.AddrPortFrom(pod, httpPort).String()+path)
	must(s, err)
	return answer
}

// startFlows lets the pod send datagrams to each address until [space.stopFlows].
func (s *space) startFlows(pod netip.Addr, to ...netip.Addr) {
	s.Helper()
	for _, a := range at(udpPort, to...) {
		s.tell(pod, http.MethodPost, "/flows?to="+url.QueryEscape(a))
	}
}

func (s *space) stopFlows(pod netip.Addr) []flow.Count {
	s.Helper()
	var counts []flow.Count
	must(s, json.Unmarshal([]byte(s.tell(pod, http.MethodDelete, "/flows")), &counts))
	return counts
}
