// SPDX-License-Identifier: Apache-2.0

// Package password reads the passwords of BGP sessions. What it returns shows itself in no log.
package password

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/plugins/speaker"
)

// maxLength is what TCP MD5 takes (TCP_MD5SIG_MAXKEYLEN), in bytes.
const maxLength = 80

// Parse returns the TCP MD5 password that the text is, without the newline that may end it: 1 to 80 printable ASCII
// characters without a double quote, which every speaker can hold. Its error says what is wrong, not what was read.
func Parse(text string) (speaker.Password, error) {
	if n := len(text); n > 0 && text[n-1] == '\n' {
		text = text[:n-1]
	}
	if text == "" {
		return speaker.Password{}, errors.New("is empty")
	}
	if len(text) > maxLength {
		return speaker.Password{}, fmt.Errorf("is longer than TCP MD5's %d bytes", maxLength)
	}
	for i, c := range []byte(text) {
		if c < ' ' || c > '~' || c == '"' {
			return speaker.Password{}, fmt.Errorf("has at byte %d what BIRD cannot hold: use printable ASCII without double quotes", i+1)
		}
	}
	return speaker.NewPassword(text), nil
}

// ErrPending tells that a password may be there and cannot be read yet. It says nothing of the peer: what
// runs with the password is to stay.
var ErrPending = errors.New("cannot be read yet")

// ReadAll returns the passwords of a NodeConfig's peers, by peer, and why those that could not be read
// could not.
func ReadAll(c *v1alpha1.Config, read func(v1alpha1.SecretKeyRef) (speaker.Password, error)) (map[string]speaker.Password, map[string]error) {
	passwords, errs := map[string]speaker.Password{}, map[string]error{}
	if c.BGP == nil {
		return passwords, errs
	}
	for _, peer := range c.BGP.Peers {
		if peer.Password == nil {
			continue
		}
		p, err := read(*peer.Password)
		if err != nil {
			errs[peer.Name] = err
			continue
		}
		passwords[peer.Name] = p
	}
	return passwords, errs
}

// Dir is a directory with one folder a Secret and in it one file a key, as Kubernetes mounts them. The
// empty Dir holds nothing.
type Dir string

// Read returns the password that a reference names. A file that everybody may read is an error.
func (d Dir) Read(ref v1alpha1.SecretKeyRef) (speaker.Password, error) {
	text, err := d.read(ref)
	if err != nil {
		return speaker.Password{}, fmt.Errorf("read password %s/%s: %w", ref.Name, ref.Key, err)
	}
	p, err := Parse(text)
	if err != nil {
		return speaker.Password{}, fmt.Errorf("read password %s/%s: it %w", ref.Name, ref.Key, err)
	}
	return p, nil
}

// ReadAll is [ReadAll] for the directory; it never waits.
func (d Dir) ReadAll(_ context.Context, c *v1alpha1.Config) (map[string]speaker.Password, map[string]error) {
	return ReadAll(c, d.Read)
}

func (d Dir) read(ref v1alpha1.SecretKeyRef) (string, error) {
	if d == "" {
		return "", errors.New("no --password-dir is given")
	}
	file, err := os.Open(filepath.Join(string(d), ref.Name, ref.Key))
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return "", fmt.Errorf("%s has mode %s, open to everybody: set it to %s", file.Name(), info.Mode(), fs.FileMode(0o640))
	}
	text, err := io.ReadAll(io.LimitReader(file, maxLength+2))
	return string(text), err
}
