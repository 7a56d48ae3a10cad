// SPDX-License-Identifier: Apache-2.0

package apiserver

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
	"time"
)

// pair is a certificate with its private key, both in PEM.
type pair struct {
	cert, key []byte
}

// authority signs the certificates of the server and of its users.
type authority struct {
	pair
	parsed *x509.Certificate
	signer *ecdsa.PrivateKey
}

func newAuthority() (*authority, error) {
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
	block, _ := pem.Decode(own.cert)
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("make a certificate authority: %w", err)
	}
	return &authority{pair: own, parsed: parsed, signer: signer}, nil
}

// server returns a certificate for a server on 127.0.0.1.
func (a *authority) server() (pair, error) {
	p, _, err := sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:    []string{"localhost", "kubernetes.default.svc"},
	}, a.parsed, a.signer)
	return p, err
}

// user returns a certificate that makes its holder the user, a member of the groups.
func (a *authority) user(name string, groups ...string) (pair, error) {
	p, _, err := sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name, Organization: groups},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, a.parsed, a.signer)
	return p, err
}

// sign makes a key and a certificate for it, self-signed where there is no parent.
func sign(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (pair, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, nil, fmt.Errorf("make a key for %s: %w", template.Subject, err)
	}
	if parent == nil {
		parent, signer = template, key
	}
	// A day of the past and of the future: a test may shift what a daemon takes for the time.
	now := time.Now()
	template.NotBefore, template.NotAfter = now.Add(-24*time.Hour), now.Add(24*time.Hour)
	template.SerialNumber = big.NewInt(now.UnixNano())
	cert, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return pair{}, nil, fmt.Errorf("make a certificate for %s: %w", template.Subject, err)
	}
	encoded, err := encodeKey(key)
	return pair{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), encoded}, key, err
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}
