// SPDX-License-Identifier: Apache-2.0

// Command testpod is what runs in the pods of a test cluster.
//
//	testpod pause                holds a pod's namespaces, and does nothing
//	testpod serve                answers HTTP on port 8080, UDP on 8081 and TCP on 8082; see serve.go
//	testpod get URL...           prints the answers
//	testpod udp HOST:PORT        prints the answer to a datagram
//	testpod addresses            lists the pod's interfaces
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
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
	case "udp":
		return datagram(args[0])
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

func datagram(to string) error {
	conn, err := net.Dial("udp", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "who?"); err != nil {
		return err
	}
	answer := make([]byte, 1<<16)
	size, err := conn.Read(answer)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(answer[:size])
	return err
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
