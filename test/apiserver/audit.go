// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// auditPolicy writes down who asked for what: a watch when it begins and when it ends, all else when it is answered.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`

// Request is one that the server answered, as its audit log has it.
type Request struct {
	ID        string    `json:"auditID"`
	Stage     string    `json:"stage"` // "ResponseStarted" for a watch that begins, else "ResponseComplete"
	Verb      string    `json:"verb"`  // "get", "list", "watch", "create", "update", "patch", "delete"
	URI       string    `json:"requestURI"`
	UserAgent string    `json:"userAgent"`
	At        time.Time `json:"requestReceivedTimestamp"`
	Done      time.Time `json:"stageTimestamp"`
	User      struct {
		Username string `json:"username"`
	} `json:"user"`
	Object struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	Response struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

// String is the request in a line.
func (r Request) String() string {
	return fmt.Sprintf("%s %s %s %d by %s", r.At.Format("15:04:05.000"), r.Verb, r.URI, r.Response.Code, r.UserAgent)
}

func (s *Server) auditLog() string { return s.file("audit.log") }

// Requests returns what clients whose user agent begins with the text have asked for since the server's first start,
// in the order in which it was answered. A watch is there twice, once it has ended.
func (s *Server) Requests(t testing.TB, userAgent string) []Request {
	t.Helper()
	content, err := os.ReadFile(s.auditLog())
	check(t, err)
	var requests []Request
	whole := content[:bytes.LastIndexByte(content, '\n')+1] // of a line that is being written a part may be there
	lines := bufio.NewScanner(bytes.NewReader(whole))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r Request
		check(t, json.Unmarshal(lines.Bytes(), &r))
		if strings.HasPrefix(r.UserAgent, userAgent) {
			requests = append(requests, r)
		}
	}
	return requests
}

// Watches returns the watches of those clients that are open now, in the order in which they began. A server that was
// stopped in between ended those that it had.
func (s *Server) Watches(t testing.TB, userAgent string) []Request {
	t.Helper()
	open := map[string]bool{}
	all := s.Requests(t, userAgent)
	for _, r := range all {
		open[r.ID] = r.Stage == "ResponseStarted" && r.At.After(s.startedAt())
	}
	var watches []Request
	for _, r := range all {
		if open[r.ID] {
			watches = append(watches, r)
		}
	}
	return watches
}
