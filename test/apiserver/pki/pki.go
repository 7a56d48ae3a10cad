// SPDX-License-Identifier: Apache-2.0

// Package pki makes the certificates of a test's API server and of its users.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"time"
)

// Pair is a certificate with its private key, both in PEM.
type Pair struct {
	Cert, Key []byte
}

// Authority signs the certificates of the server and of its users.
type Authority struct {
	Pair
	parsed *x509.Certificate
	signer *ecdsa.PrivateKey
}

// New makes an authority.
func New() (*Authority, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "flock-test-ca"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	own, signer, err := sign(template, nil, nil)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(own.Cert)
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("make a certificate authority: %w", err)
	}
	return &Authority{Pair: own, parsed: parsed, signer: signer}, nil
}

// Server returns a certificate for a server at these addresses.
func (a *Authority) Server(at ...netip.Addr) (Pair, error) {
	var addresses []net.IP
	for _, address := range at {
		addresses = append(addresses, address.AsSlice())
	}
	p, _, err := sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: addresses,
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
	}, a.parsed, a.signer)
	return p, err
}

// User returns a certificate that makes its holder the user, a member of the groups.
func (a *Authority) User(name string, groups ...string) (Pair, error) {
	p, _, err := sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name, Organization: groups},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, a.parsed, a.signer)
	return p, err
}

// sign makes a key and a certificate for it, self-signed where there is no parent.
func sign(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (Pair, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, nil, fmt.Errorf("make a key for %s: %w", template.Subject, err)
	}
	if parent == nil {
		parent, signer = template, key
	}
	// A day of the past and a year of the future: a test may shift what a daemon takes for the time, and a cluster
	// may be left up.
	now := time.Now()
	template.NotBefore, template.NotAfter = now.AddDate(0, 0, -1), now.AddDate(1, 0, 0)
	template.SerialNumber = big.NewInt(now.UnixNano())
	cert, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return Pair{}, nil, fmt.Errorf("make a certificate for %s: %w", template.Subject, err)
	}
	encoded, err := encodeKey(key)
	return Pair{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), encoded}, key, err
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}
