// SPDX-License-Identifier: Apache-2.0

// Package sysctl reads and writes the kernel's settings of the calling thread's network namespace, for
// what netlink cannot set.
package sysctl

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Link returns the key of one device's IPv6 setting, "ipv6/conf/DEV/NAME".
func Link(dev, name string) string { return "ipv6/conf/" + dev + "/" + name }

// Get returns the value of a key below net, "ipv4/ip_forward", without its newline. A key that the
// kernel does not have is [unix.ENOENT].
func Get(key string) (string, error) {
	var buf [64]byte
	n, err := with(key, unix.O_RDONLY, func(fd int) (int, error) { return unix.Read(fd, buf[:]) })
	if err != nil {
		return "", fmt.Errorf("read sysctl net/%s: %w", key, err)
	}
	return strings.TrimSpace(string(buf[:n])), nil
}

// Set writes the value of a key below net.
func Set(key, value string) error {
	_, err := with(key, unix.O_WRONLY, func(fd int) (int, error) { return unix.Write(fd, []byte(value)) })
	if err != nil {
		return fmt.Errorf("set sysctl net/%s to %s: %w", key, value, err)
	}
	return nil
}

// Ensure writes the value of a key below net unless the key has it, and whoever does so at the same time takes turns.
// The kernel makes net.ipv4.ip_forward what it was where it has to begin again with a write, as it does while it changes
// links: of two writers who meet, each may then take what is done for the other's work, and no link forwards.
func Ensure(key, value string) error {
	_, err := with(key, unix.O_RDWR, func(fd int) (int, error) {
		if err := unix.Flock(fd, unix.LOCK_EX); err != nil {
			return 0, err
		}
		var buf [64]byte
		n, err := unix.Pread(fd, buf[:], 0)
		if err != nil || strings.TrimSpace(string(buf[:n])) == value {
			return n, err
		}
		return unix.Pwrite(fd, []byte(value), 0)
	})
	if err != nil {
		return fmt.Errorf("set sysctl net/%s to %s: %w", key, value, err)
	}
	return nil
}

// Replace writes the new value where the key has the old one.
func Replace(key, from, to string) error {
	if have, err := Get(key); err != nil || have != from {
		return err
	}
	return Set(key, to)
}

func with(key string, mode int, f func(fd int) (int, error)) (int, error) {
	fd, err := unix.Open("/proc/sys/net/"+key, mode|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	n, err := f(fd)
	return n, errors.Join(err, unix.Close(fd))
}
