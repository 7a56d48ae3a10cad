// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// serve answers until SIGTERM, and $LINGER longer, a Go duration:
//
//	HTTP :8080  /            the pod's name and the caller's address
//	            /ready       200, or 503 after POST /unready and until POST /ready
//	            /flows       POST ?to=HOST:PORT sends datagrams to another pod, DELETE stops and answers with
//	                         the counts of package flow
//	UDP  :8081               the pod's name, a newline, and what was sent
//	TCP  :8082               the pod's name, a newline, and what is sent until the caller ends
func serve() error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	datagrams, err := listenUDP()
	if err != nil {
		return err
	}
	connections, err := net.Listen("tcp", ":8082")
	if err != nil {
		return err
	}
	failed := make(chan error)
	for _, conn := range datagrams {
		go func() { failed <- echoDatagrams(conn, name) }()
	}
	go func() { failed <- echoConnections(connections, name) }()
	// The last: a pod that answers its probe serves all.
	go func() { failed <- http.ListenAndServe(":8080", handler(name)) }()
	fmt.Println("serving as", name)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	select {
	case err := <-failed:
		return err
	case <-ended:
	}
	linger, _ := time.ParseDuration(os.Getenv("LINGER"))
	fmt.Println("ending in", linger)
	time.Sleep(linger)
	return nil
}

func handler(name string) http.Handler {
	var unready atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, name, r.RemoteAddr) })
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if unready.Load() {
			http.Error(w, "told not to be ready", http.StatusServiceUnavailable)
		}
	})
	var f flows
	mux.HandleFunc("POST /flows", f.start)
	mux.HandleFunc("DELETE /flows", f.stop)
	mux.HandleFunc("POST /ready", func(http.ResponseWriter, *http.Request) { unready.Store(false) })
	mux.HandleFunc("POST /unready", func(http.ResponseWriter, *http.Request) { unready.Store(true) })
	return mux
}

// listenUDP listens at each address by itself: the answer to a datagram is sent from where that was sent to.
func listenUDP() (all []*net.UDPConn, err error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, address := range addresses {
		ip := address.(*net.IPNet).IP
		if ip.IsLinkLocalUnicast() {
			continue
		}
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip, Port: 8081})
		if err != nil {
			return nil, err
		}
		all = append(all, conn)
	}
	return all, nil
}

func echoDatagrams(conn *net.UDPConn, name string) error {
	buf := make([]byte, 1<<16)
	for {
		size, from, err := conn.ReadFrom(buf)
		if err != nil {
			return err
		}
		if _, err := conn.WriteTo(append([]byte(name+"\n"), buf[:size]...), from); err != nil {
			fmt.Println(err)
		}
	}
}

func echoConnections(listener net.Listener, name string) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			if _, err := io.WriteString(conn, name+"\n"); err == nil {
				io.Copy(conn, conn)
			}
		}()
	}
}
