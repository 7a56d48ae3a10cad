// SPDX-License-Identifier: Apache-2.0

// Package oci writes OCI image archives of a single layer. They are three JSON documents and a tar in a tar, which is
// less to read than the interface of a library that writes them.
package oci

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
)

// Image is what becomes an archive.
type Image struct {
	// Name is the whole reference with a tag.
	Name        string
	Arch        string
	Command     []string
	Annotations map[string]string
	Files       Tree
}

// The documents of the OCI image specification, v1.1, as far as they are used.
type (
	descriptor struct {
		MediaType   string            `json:"mediaType"`
		Digest      string            `json:"digest"`
		Size        int               `json:"size"`
		Annotations map[string]string `json:"annotations,omitempty"`
	}
	index struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Manifests     []descriptor `json:"manifests"`
	}
	manifest struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		Config        descriptor        `json:"config"`
		Layers        []descriptor      `json:"layers"`
		Annotations   map[string]string `json:"annotations,omitempty"`
	}
	config struct {
		Architecture string  `json:"architecture"`
		OS           string  `json:"os"`
		Config       process `json:"config"`
		RootFS       rootFS  `json:"rootfs"`
	}
	process struct {
		Env []string
		Cmd []string
	}
	rootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	}
)

const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// Write makes the archive and returns the image's digest.
func (i Image) Write(file string) (string, error) {
	archive := Tree{"oci-layout": {Mode: 0o644, Content: []byte(`{"imageLayoutVersion":"1.0.0"}`)}}
	desc, err := i.pack(archive)
	if err != nil {
		return "", err
	}
	_, tag, _ := strings.Cut(i.Name, ":")
	desc.Annotations = map[string]string{
		"io.containerd.image.name":          i.Name, // what containerd names it on import
		"org.opencontainers.image.ref.name": tag,
	}
	content, err := json.Marshal(index{2, typeIndex, []descriptor{desc}})
	if err != nil {
		return "", err
	}
	archive["index.json"] = Entry{Mode: 0o644, Content: content}
	text, err := archive.tar()
	if err != nil {
		return "", err
	}
	return desc.Digest, os.WriteFile(file, text, 0o644)
}

// pack puts the image's blobs into the archive and returns its manifest's descriptor.
func (i Image) pack(archive Tree) (descriptor, error) {
	layer, err := i.Files.tar()
	if err != nil {
		return descriptor{}, err
	}
	compressed, err := compress(layer)
	if err != nil {
		return descriptor{}, err
	}
	layerDesc := archive.blob(typeLayer, compressed)
	configDesc, err := archive.document(typeConfig, config{
		Architecture: i.Arch, OS: "linux",
		Config: process{Env: []string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin"}, Cmd: i.Command},
		RootFS: rootFS{Type: "layers", DiffIDs: []string{digest(layer)}},
	})
	if err != nil {
		return descriptor{}, err
	}
	return archive.document(typeManifest, manifest{2, typeManifest, configDesc, []descriptor{layerDesc}, i.Annotations})
}

func (t Tree) document(mediaType string, doc any) (descriptor, error) {
	content, err := json.Marshal(doc)
	if err != nil {
		return descriptor{}, err
	}
	return t.blob(mediaType, content), nil
}

func (t Tree) blob(mediaType string, content []byte) descriptor {
	d := descriptor{MediaType: mediaType, Digest: digest(content), Size: len(content)}
	t["blobs/"+strings.Replace(d.Digest, ":", "/", 1)] = Entry{Mode: 0o644, Content: content}
	return d
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}
