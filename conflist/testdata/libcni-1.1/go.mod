// The libcni of containerd 1.7, which knows nothing of "cniVersions".
module flock.fritzlab.net/flock/conflist/testdata/libcni

go 1.26.0

require github.com/containernetworking/cni v1.1.2
