// SPDX-License-Identifier: Apache-2.0

// Command testpod is what runs in the pods of a test cluster.
//
//	testpod pause                holds a pod's namespaces, and does nothing
//	testpod serve                answers HTTP on port 8080, UDP on 8081 and TCP on 8082; see serve.go
//	testpod get URL...           prints the answers
//	testpod udp SIZE HOST:PORT...     wants each datagram of that many bytes back
//	testpod tcp SIZE HOST:PORT...     wants that many bytes back over each connection
//	testpod addresses            lists the pod's interfaces
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	args := os.Args[1:]
	if len(args) == 0 {
		args = []string{"pause"}
	}
	if err := run(args[0], args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "testpod:", err)
		os.Exit(1)
	}
}

func run(command string, args []string) error {
	switch command {
	case "pause":
		pause()
		return nil
	case "serve":
		return serve()
	case "get":
		return get(args)
	case "udp", "tcp":
		size, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		return echo(command, size, args[1:])
	case "addresses":
		return addresses()
	}
	return fmt.Errorf("no such command: %s", command)
}

// pause waits until it is told to end, and reaps the processes that it inherits.
func pause() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGINT, syscall.SIGTERM)
	for sig := range signals {
		if sig != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}

const timeout = 5 * time.Second

func get(urls []string) error {
	client := http.Client{Timeout: timeout}
	for _, url := range urls {
		response, err := client.Get(url)
		if err != nil {
			return err
		}
		_, err = io.Copy(os.Stdout, response.Body)
		response.Body.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// echo sends to each address, and wants the name of who answers, which it prints, a newline, and what was sent.
func echo(network string, size int, addresses []string) error {
	want := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
	for _, to := range addresses {
		name, got, err := exchange(network, to, want)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%s %s sent %d bytes back, not the %d that it got", network, to, len(got), size)
		}
		fmt.Println(name)
	}
	return nil
}

// exchange returns the name of who answers, and what it sends back.
func exchange(network, to string, content []byte) (name string, back []byte, err error) {
	conn, err := net.DialTimeout(network, to, timeout)
	if err != nil {
		return "", nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return "", nil, err
	}
	failed := make(chan error, 1)
	go func() {
		_, err := conn.Write(content)
		failed <- err
	}()
	r := bufio.NewReaderSize(conn, 1<<16) // a datagram is read at once or cut
	if name, err = r.ReadString('\n'); err != nil {
		return "", nil, err
	}
	back = make([]byte, len(content))
	if _, err := io.ReadFull(r, back); err != nil {
		return "", nil, err
	}
	return name[:len(name)-1], back, <-failed
}

func addresses() error {
	links, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, link := range links {
		addresses, err := link.Addrs()
		if err != nil {
			return err
		}
		fmt.Println(link.Name, link.MTU, addresses)
	}
	return nil
}
