// SPDX-License-Identifier: Apache-2.0

package lookup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"flock.fritzlab.net/flock/plugins/cni"
)

const (
	// readTime bounds how long a client may take to put its question.
	readTime = 5 * time.Second
	// writeTime bounds how long a client may take to read its answer.
	writeTime = 5 * time.Second
	// maxWait bounds what a client may ask the server to wait.
	maxWait = 15 * time.Second
)

// Handler finds a pod; an empty UID matches any pod of the name. It looks first and waits then: its
// context ends with the client's wait, which may be none, and when the client hangs up. An
// [ErrWaitExpired], or the context's own error, tells the client that the pod did not show up.
type Handler func(context.Context, cni.Pod) (Answer, error)

// Serve answers the one question of a connection and closes it; when the context ends it closes without an
// answer. It returns the error of the connection, not the one that the handler answered with.
func (s Server) Serve(ctx context.Context, conn net.Conn) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var line questionLine
	if err := conn.SetReadDeadline(time.Now().Add(readTime)); err != nil {
		return err
	}
	if err := readLine(conn, maxQuestion, &line); err != nil {
		return errors.Join(err, send(conn, failed(codeBadRequest, err)))
	}
	if err := s.check(line); err != nil {
		return send(conn, failed(codeBadRequest, err))
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	found := s.find(ctx, conn, line)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return send(conn, found)
}

// check tells why a question cannot be answered.
func (s Server) check(line questionLine) error {
	switch {
	case line.WaitMS < 0, line.Ask == "" && (line.Namespace == "" || line.Name == ""):
		return errors.New("want a namespace, a name, and a wait that is not negative")
	case line.Ask == "":
		return nil
	}
	return s.checkAllocators(line)
}

// find lets the handler wait as long as the client does.
func (s Server) find(ctx context.Context, conn net.Conn, line questionLine) answerLine {
	wait := time.Duration(min(line.WaitMS, maxWait.Milliseconds())) * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	go func() {
		conn.Read(make([]byte, 1)) // nothing comes: it returns when the client hangs up, or when Serve closes
		cancel()
	}()
	if line.Ask != "" {
		return s.askAllocators(ctx, line)
	}
	return reply(s.Handle(ctx, line.Pod))
}

func reply(answer Answer, err error) answerLine {
	switch {
	case err == nil:
		return answerLine{Annotations: answer.Annotations, Image: answer.Image}
	case errors.Is(err, ErrWaitExpired), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return failed(codeWaitExpired, err)
	}
	return failed(codeInternal, err)
}

func failed(code string, err error) answerLine {
	return answerLine{Error: &errorLine{Code: code, Message: fmt.Sprint(err)}}
}

func send(conn net.Conn, line answerLine) error {
	if err := conn.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	return writeLine(conn, line)
}
