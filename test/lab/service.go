// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// Service answers on one port of a namespace, over UDP and over TCP, with its name: who asks learns
// which pod it reached.
type Service struct {
	name    string
	sockets []io.Closer
}

// Serve starts a service in the namespace on the port of each address. Close it before the namespace goes:
// an open socket keeps a namespace alive.
func (n *Netns) Serve(ctx context.Context, name string, port uint16, at ...netip.Addr) (*Service, error) {
	s := &Service{name: name}
	err := n.Do(func() error {
		for _, a := range at {
			if err := s.listen(ctx, netip.AddrPortFrom(a, port).String()); err != nil {
				return errors.Join(err, s.Close())
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("serve port %d in %s: %w", port, n.Name, err)
	}
	return s, nil
}

func (s *Service) listen(ctx context.Context, address string) error {
	var config net.ListenConfig
	udp, err := config.ListenPacket(ctx, "udp", address)
	if err != nil {
		return err
	}
	s.sockets = append(s.sockets, udp)
	tcp, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	s.sockets = append(s.sockets, tcp)
	go s.answerDatagrams(udp)
	go s.answerConnections(tcp)
	return nil
}

// Close ends the service.
func (s *Service) Close() error {
	var errs []error
	for _, socket := range s.sockets {
		errs = append(errs, socket.Close())
	}
	return errors.Join(errs...)
}

func (s *Service) answerDatagrams(conn net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		_, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		conn.WriteTo([]byte(s.name+"\n"), from)
	}
}

func (s *Service) answerConnections(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		io.WriteString(conn, s.name+"\n")
		conn.Close()
	}
}

// Ask asks the service at the address, over "udp" or "tcp", from the namespace and a fresh source port, and
// returns the name that it answers with.
func (n *Netns) Ask(ctx context.Context, network string, to netip.AddrPort) (string, error) {
	var answer string
	err := n.Do(func() (err error) {
		answer, err = ask(ctx, network, to)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("ask %s over %s from %s: %w", to, network, n.Name, err)
	}
	return answer, nil
}

const askTimeout = 2 * time.Second

func ask(ctx context.Context, network string, to netip.AddrPort) (string, error) {
	dialer := net.Dialer{Timeout: askTimeout}
	conn, err := dialer.DialContext(ctx, network, to.String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		return "", err
	}
	if network == "udp" {
		if _, err := io.WriteString(conn, "who?"); err != nil {
			return "", err
		}
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return "", err
	}
	return answer[:len(answer)-1], nil
}
