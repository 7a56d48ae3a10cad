// SPDX-License-Identifier: Apache-2.0

// Package lookup asks the node's daemon, ipamd, for a pod's annotations, where the container runtime
// does not hand them over, and for addresses of pools that an extension of ipamd allocates from.
//
// The daemon listens on a stream socket in the Unix domain. One connection is one question: the client
// writes one line of JSON, the server answers with one line and closes.
//
//	-> {"namespace":"default","name":"web-0","uid":"9f1c…","waitMs":9500}
//	<- {"annotations":{"flock.fritzlab.net/ipv4":"false"},"image":"sha256:5d0d…"}
//
// waitMs is how long the server may wait for the pod to show up; 0 asks for what is known at once. An
// empty uid matches any pod of the name. image is the digest of the first container's image and is left
// out while it is unknown. Instead of an answer there may be an error:
//
//	<- {"error":{"code":"wait-expired","message":"pod default/web-0 did not show up in 9.5s"}}
//
// Codes: "wait-expired", the pod did not show up; "bad-request", the question cannot be read;
// "internal", anything else.
//
// Other questions say what they ask. For an address of a pool whose allocator is an extension:
//
//	-> {"ask":"allocate","namespace":"default","name":"web-0","attachment":{"network":"flock",…},
//	    "stateDir":"/run/flock","pool":"shared6","within":"fd00::/64","waitMs":9500}
//	<- {"address":"fd00::7"}
//
// stateDir is the folder of the store that the address will be put into. The codes are "exhausted", the pool has none;
// "refused", the allocator serves no such pod; "wrong", it gave what no pod may have; "other-store", stateDir is not the
// daemon's own; "internal", it cannot be asked, or not in time. {"ask":"abandon","attachment":…} gives back what an ADD
// was given that has failed since, and {"ask":"allocator","allocator":"sticky"} asks whether an allocator is up; the
// answer is {}.
// Either side ignores keys that it does not know. A question has at most 8 KiB,
// an answer 4 MiB. A server that is stopped hangs up without an answer, and the client asks the next one.
package lookup

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"flock.fritzlab.net/flock/plugins/cni"
)

// DefaultSocket is where ipamd listens unless "socket" says otherwise.
const DefaultSocket = "/run/flock/ipamd.sock"

const (
	// maxQuestion bounds what a client can make the server hold.
	maxQuestion = 8 << 10
	// maxAnswer is far above the 256 KiB that annotations hold at most, of which JSON may need six bytes for one.
	maxAnswer = 4 << 20
)

// ErrWaitExpired tells that the pod did not show up within the wait.
var ErrWaitExpired = errors.New("the pod did not show up in time")

// Answer is what the daemon knows of the pod.
type Answer struct {
	Annotations map[string]string
	// Image is the digest of the first container's image, empty while it is unknown.
	Image string
}

type questionLine struct {
	cni.Pod
	WaitMS     int64           `json:"waitMs,omitempty"`
	Ask        string          `json:"ask,omitempty"`
	Attachment *cni.Attachment `json:"attachment,omitempty"`
	StateDir   string          `json:"stateDir,omitempty"`
	Pool       string          `json:"pool,omitempty"`
	Within     netip.Prefix    `json:"within,omitzero"`
	Allocator  string          `json:"allocator,omitempty"`
}

// What a question asks; nothing for a pod's annotations.
const (
	askAllocate  = "allocate"
	askAbandon   = "abandon"
	askAllocator = "allocator"
)

type answerLine struct {
	Annotations map[string]string `json:"annotations,omitempty"`
	Image       string            `json:"image,omitempty"`
	Address     netip.Addr        `json:"address,omitzero"`
	Error       *errorLine        `json:"error,omitempty"`
}

func (l answerLine) answer() Answer { return Answer{Annotations: l.Annotations, Image: l.Image} }

type errorLine struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

const (
	codeWaitExpired = "wait-expired"
	codeBadRequest  = "bad-request"
	codeInternal    = "internal"
	codeExhausted   = "exhausted"
	codeRefused     = "refused"
	codeWrong       = "wrong"
	codeOtherStore  = "other-store"
)

// meanings are the codes that are errors of their own on both sides, and whose message says it all.
var meanings = map[string]error{
	codeExhausted: ErrExhausted, codeRefused: ErrRefused, codeWrong: ErrWrong, codeOtherStore: ErrOtherStore,
}

func (e errorLine) err() error {
	if e.Code == codeWaitExpired {
		return fmt.Errorf("%w: %s", ErrWaitExpired, e.Message)
	}
	if same, known := meanings[e.Code]; known {
		return &toldError{e.Message, same}
	}
	return fmt.Errorf("%s (%s)", e.Message, e.Code)
}

func writeLine(w io.Writer, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

// readLine decodes one line of at most limit bytes into v. A stream that ends within the line, or before it,
// is [io.ErrUnexpectedEOF].
func readLine(r io.Reader, limit int64, v any) error {
	line, err := bufio.NewReader(io.LimitReader(r, limit)).ReadBytes('\n')
	if err == io.EOF {
		if int64(len(line)) == limit {
			return fmt.Errorf("a line of more than %d bytes", limit)
		}
		return io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}
