// SPDX-License-Identifier: Apache-2.0

package birdctl

import (
	"bufio"
	"errors"
	"fmt"
)

// The reply codes that are told apart here.
const (
	codeWelcome      = 1
	codeShutdown     = 6
	codeReloading    = 15
	codeVersion      = 1000
	codeProtocol     = 1002
	codeDetail       = 1006
	codeRoute        = 1007
	codeStatus       = 1011
	codeRuntimeError = 8000
	codeNoRoute      = 8001
)

// Line is one line of a reply: BIRD's code and what follows it.
type Line struct {
	Code int
	Text string
}

// Reply is what BIRD answers to one command; it has at least one line.
type Reply struct{ Lines []Line }

// Code returns the code of the last line, which tells how the command ended.
func (r Reply) Code() int { return r.last().Code }

func (r Reply) last() Line { return r.Lines[len(r.Lines)-1] }

func (r Reply) unexpected(what string) error {
	return fmt.Errorf("unexpected %s: %04d %.100s", what, r.Code(), r.last().Text)
}

// maxReply bounds what one reply may hold, in bytes; the protocols of a node are a few thousand.
const maxReply = 4 << 20

var errMalformed = errors.New("malformed reply")

// readReply reads lines up to the one that ends a reply: "0013 text" ends it, "1002-text" does not,
// " text" continues with the code before it, and "+text" is news that belongs to no reply.
func readReply(r *bufio.Reader) (Reply, error) {
	var reply Reply
	for size := 0; ; {
		text, err := readLine(r, maxReply-size)
		if err != nil {
			return Reply{}, err
		}
		size += len(text) + 1
		if text != "" && text[0] == '+' {
			continue
		}
		line, last, err := parseLine(text, reply.Lines)
		if err != nil {
			return Reply{}, err
		}
		reply.Lines = append(reply.Lines, line)
		if last {
			return reply, nil
		}
	}
}

// readLine returns the next line without its end, which is one byte of the limit.
func readLine(r *bufio.Reader, limit int) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > limit {
			return "", fmt.Errorf("%w: longer than %d bytes", errMalformed, maxReply)
		}
		line = append(line, part...)
		if err == nil {
			return string(line[:len(line)-1]), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return "", err
		}
	}
}

func parseLine(text string, before []Line) (line Line, last bool, err error) {
	if n := len(before); n > 0 && text != "" && text[0] == ' ' {
		return Line{Code: before[n-1].Code, Text: text[1:]}, false, nil
	}
	code, ok := parseCode(text)
	if !ok {
		return Line{}, false, fmt.Errorf("%w: line %.100q", errMalformed, text)
	}
	return Line{Code: code, Text: text[5:]}, text[4] == ' ', nil
}

// parseCode returns the number of a line that begins with four digits and a space or a hyphen.
func parseCode(text string) (int, bool) {
	if len(text) < 5 || text[4] != ' ' && text[4] != '-' {
		return 0, false
	}
	code := 0
	for _, digit := range []byte(text[:4]) {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		code = code*10 + int(digit-'0')
	}
	return code, true
}
