// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"time"
)

// The daemon and the extension know each other's certificate itself, so when one is valid says nothing more. It must not
// decide anything either: the clock may be set while the extension runs.

// newCertificate returns a certificate by which an extension knows its daemon, valid whatever the extension's clock says.
// That of go-plugin's AutoMTLS begins when it is made and ends after 30 years, which a node that boots in 1970 and then
// hears the time has behind it.
func newCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a key: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "flock"},
		NotBefore:             time.Unix(0, 0).UTC(),
		NotAfter:              time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // without end: RFC 5280, 4.1.2.5
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// clientCert returns the variable that tells go-plugin's server whom to serve. It answers with a certificate of its own.
func clientCert(own tls.Certificate) string {
	block := &pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate[0]}
	return "PLUGIN_CLIENT_CERT=" + string(pem.EncodeToMemory(block))
}

// newConfig returns what the connection to an extension needs, but for the extension's certificate.
func newConfig(own tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{own},
		MinVersion:   tls.VersionTLS12,
		ServerName:   "localhost", // of go-plugin's certificates
	}
}

// frozen returns the clock by which an extension's certificate is checked: it stands at a time when that was valid.
func frozen(at time.Time) func() time.Time { return func() time.Time { return at } }
