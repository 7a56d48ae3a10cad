// SPDX-License-Identifier: Apache-2.0

package lookup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/plugins/cni"
)

const (
	// margin is how much earlier than the client the server gives up, so that its answer is heard.
	margin = 500 * time.Millisecond
	// redial is the time between two attempts to reach a daemon that is starting.
	redial = 50 * time.Millisecond
)

// Ask returns what the daemon at the socket knows of the pod. It waits for the pod, and for a daemon
// that is not there yet, until the context's deadline, which it must have. A pod that does not show up is
// an [ErrWaitExpired]; the error of an absent daemon wraps what the last attempt said.
func Ask(ctx context.Context, socket string, pod cni.Pod) (Answer, error) {
	line, err := insist(ctx, socket, questionLine{Pod: pod})
	return line.answer(), err
}

// insist puts a question, also to a daemon that is not there yet, until the context's deadline.
func insist(ctx context.Context, socket string, question questionLine) (answerLine, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return answerLine{}, wrap(socket, errors.New("no deadline"))
	}
	for {
		question.WaitMS = max(time.Until(deadline)-margin, 0).Milliseconds()
		line, err := ask(ctx, socket, question)
		if err == nil || !comingBack(err) || time.Until(deadline) < 2*redial {
			return line, wrap(socket, err)
		}
		select {
		case <-ctx.Done():
			return answerLine{}, wrap(socket, err)
		case <-time.After(redial):
		}
	}
}

// AskAtOnce returns what the daemon knows of the pod already, without waiting for either.
func AskAtOnce(ctx context.Context, socket string, pod cni.Pod) (Answer, error) {
	line, err := ask(ctx, socket, questionLine{Pod: pod})
	return line.answer(), wrap(socket, err)
}

func wrap(socket string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("ask ipamd at %s: %w", socket, err)
}

// comingBack tells errors of a daemon that is not running, or was stopped while it was asked.
func comingBack(err error) bool {
	for _, e := range []error{unix.ENOENT, unix.ECONNREFUSED, unix.ECONNRESET, unix.EPIPE, io.ErrUnexpectedEOF} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func ask(ctx context.Context, socket string, question questionLine) (answerLine, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return answerLine{}, err
	}
	defer conn.Close()
	// Cancelling wakes a read that waits.
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if err := writeLine(conn, question); err != nil {
		return answerLine{}, err
	}
	var line answerLine
	err = readLine(conn, maxAnswer, &line)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return answerLine{}, fmt.Errorf("no answer: %w", context.Cause(ctx))
	case err != nil:
		return answerLine{}, fmt.Errorf("read its answer: %w", err)
	case line.Error != nil:
		return answerLine{}, line.Error.err()
	}
	return line, nil
}
