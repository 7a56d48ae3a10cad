// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// record is what a supervisor keeps of an extension that outlives it, in a file that root alone can read: it holds the
// key with which the extension is reached.
type record struct {
	State State `json:"state"`
	// The rest is there while it is up. Born names the process with the state's PID, Socket is relative to the record's
	// folder, as that may have another path in another container. Certificates are in DER, the key in PKCS #8.
	Born        uint64 `json:"born,omitempty"`
	Socket      string `json:"socket,omitempty"`
	Certificate []byte `json:"certificate,omitempty"`
	Key         []byte `json:"key,omitempty"`
	Server      []byte `json:"server,omitempty"`
}

// RecordPath returns where the record of an extension is in the state folder: speaker-gobgp.json, for example.
func RecordPath(folder, kind, name string) string {
	return filepath.Join(folder, kind+"-"+name+".json")
}

func readRecord(path string) (record, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return record{}, err
	}
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		return record{}, fmt.Errorf("read %s: %w", path, err)
	}
	return r, nil
}

// newRecord returns the record of an extension that is up.
func newRecord(state State, folder string, i *instance) (record, error) {
	socket, err := filepath.Rel(folder, i.socket)
	if err != nil {
		return record{}, err
	}
	own := i.tls.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		return record{}, err
	}
	return record{State: state, Born: i.born, Socket: socket, Certificate: own.Certificate[0], Key: key, Server: i.server}, nil
}

// write puts the record in the place of the one before. The spare folder is on the same file system, and is emptied by
// whoever comes next.
func (r record) write(path, spare string) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(spare, "record") // for its owner alone
	if err != nil {
		return err
	}
	_, err = temp.Write(append(raw, '\n'))
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}

// config returns what the connection to the extension needs: both know each other's certificate.
func (r record) config() (*tls.Config, error) {
	key, err := x509.ParsePKCS8PrivateKey(r.Key)
	if err != nil {
		return nil, fmt.Errorf("read the record's key: %w", err)
	}
	server, err := x509.ParseCertificate(r.Server)
	if err != nil {
		return nil, fmt.Errorf("read the record's certificate: %w", err)
	}
	config := newConfig(tls.Certificate{Certificate: [][]byte{r.Certificate}, PrivateKey: key})
	config.RootCAs = x509.NewCertPool()
	config.RootCAs.AddCert(server)
	config.Time = frozen(server.NotBefore)
	return config, nil
}
