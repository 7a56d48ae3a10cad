// SPDX-License-Identifier: Apache-2.0

package lookup

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"flock.fritzlab.net/flock/plugins/cni"
)

// What an allocator answers instead of an address. What wraps them arrives with its text.
var (
	// ErrExhausted: the pool has no address for the pod.
	ErrExhausted = errors.New("exhausted")
	// ErrRefused: the allocator serves no such pod.
	ErrRefused = errors.New("refused")
	// ErrWrong: the allocator gave an address that no pod may have.
	ErrWrong = errors.New("wrong")
	// ErrOtherStore: the daemon does not read the store that the address is for, and would take it back from its pod.
	ErrOtherStore = errors.New("it is another ipamd's store")
)

// Want asks for an address of a pool of node.json whose allocator is an extension.
type Want struct {
	Attachment cni.Attachment
	// StateDir is the folder of the store that the address will be put into.
	StateDir string
	// Pod is zero where nobody names one.
	Pod  cni.Pod
	Pool string
	// Within is the part of the pool that the address has to be in.
	Within netip.Prefix
}

// Allocators answers for the extensions.
type Allocators interface {
	// Allocate returns an address, or an error that may match [ErrExhausted], [ErrRefused], [ErrWrong] or [ErrOtherStore]; any
	// other is worth another try. It returns when the context ends.
	Allocate(context.Context, Want) (netip.Addr, error)
	// Abandon takes back what was given to an attachment whose ADD has failed.
	Abandon(context.Context, cni.Attachment) error
	// Up returns why an allocator cannot be asked, nil if it can.
	Up(name string) error
}

// Allocate asks for an address as [Ask] does for annotations.
func Allocate(ctx context.Context, socket string, want Want) (netip.Addr, error) {
	line, err := insist(ctx, socket, questionLine{
		Ask: askAllocate, Pod: want.Pod, Attachment: &want.Attachment, StateDir: want.StateDir, Pool: want.Pool, Within: want.Within,
	})
	told := (*toldError)(nil)
	switch {
	case errors.As(err, &told):
		return netip.Addr{}, told // who says it does not matter
	case err == nil && !line.Address.IsValid():
		err = wrap(socket, errors.New("its answer has no address"))
	}
	return line.Address, err
}

// Abandon has taken back what the attachment was given, if the daemon is there: nothing is lost if not, but time.
func Abandon(ctx context.Context, socket string, a cni.Attachment) error {
	_, err := ask(ctx, socket, questionLine{Ask: askAbandon, Attachment: &a, WaitMS: maxWait.Milliseconds()})
	return wrap(socket, err)
}

// Up returns why an allocator cannot be asked, nil if it can.
func Up(ctx context.Context, socket, allocator string) error {
	_, err := ask(ctx, socket, questionLine{Ask: askAllocator, Allocator: allocator})
	return wrap(socket, err)
}

// checkAllocators tells why a question of an allocator cannot be answered.
func (s Server) checkAllocators(line questionLine) error {
	named := line.Attachment != nil && line.Attachment.ContainerID != "" && line.Attachment.IfName != ""
	switch {
	case s.Allocators == nil:
		return fmt.Errorf("%q is not answered here", line.Ask)
	case line.Ask == askAllocate && named && line.StateDir != "" && line.Pool != "" && line.Within.IsValid():
	case line.Ask == askAbandon && named:
	case line.Ask == askAllocator && line.Allocator != "":
	default:
		return fmt.Errorf("cannot answer %q: want allocate with stateDir, attachment, pool and within, abandon with attachment, or allocator", line.Ask)
	}
	return nil
}

func (s Server) askAllocators(ctx context.Context, line questionLine) answerLine {
	var answer answerLine
	var err error
	switch line.Ask {
	case askAllocate:
		answer.Address, err = s.Allocators.Allocate(ctx, Want{*line.Attachment, line.StateDir, line.Pod, line.Pool, line.Within})
	case askAbandon:
		err = s.Allocators.Abandon(ctx, *line.Attachment)
	case askAllocator:
		err = s.Allocators.Up(line.Allocator)
	}
	if err == nil {
		return answer
	}
	for code, same := range meanings {
		if errors.Is(err, same) {
			return failed(code, err)
		}
	}
	return failed(codeInternal, err)
}

// toldError has the other side's text, and is the error that its code stands for.
type toldError struct {
	text string
	is   error
}

// Error returns the text alone.
func (e *toldError) Error() string { return e.text }

// Unwrap returns what the error is on both sides.
func (e *toldError) Unwrap() error { return e.is }
