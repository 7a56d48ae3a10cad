# SPDX-License-Identifier: Apache-2.0

GO ?= go
# How long each fuzz test runs, and what the benchmark is told ("-quick", "-enforce", "-json FILE").
FUZZTIME ?= 20s
BENCHFLAGS ?=
# What the cluster is told ("-network ptp", "-nodes 3").
CLUSTERFLAGS ?=
CLUSTERTESTFLAGS ?=
# The tag of the images.
TAG ?= dev

PROGRAMS := ./flock-ipam ./flock-ipam/ipamd ./flock-veth ./flock-route \
	./flock-bird ./flock-bird/birdd ./installer/flock-installer \
	./plugins/speaker/speaker-gobgp ./plugins/allocator/allocator-sticky

# Debian keeps bird and ip where a plain su does not look.
export PATH := $(PATH):/usr/sbin:/sbin
# Static programs need no C compiler, and root may build in another user's checkout, where git would
# not tell the revision.
export CGO_ENABLED := 0
export GOFLAGS := $(GOFLAGS) -buildvcs=false

.PHONY: help build generate image demo cluster cluster-down test-cluster test bench lint fuzz clean packages

help: ## Print the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

build: ## Build the programs into bin/, static and trimmed
	$(GO) build -trimpath -ldflags '-s -w' -o bin/ $(PROGRAMS)

# What make generate writes, below the folder OUT.
PROTOS := plugins/allocator/proto/allocator plugins/speaker/proto/speaker
GENERATED := api/v1alpha1/zz_generated.deepcopy.go $(PROTOS:=.pb.go) $(PROTOS:=_grpc.pb.go) \
	deploy/base/nodeconfigs.flock.fritzlab.net.yaml deploy/components/sticky/stickyaddresses.flock.fritzlab.net.yaml
OUT ?= .
GO_TOOL := $(GO) tool -modfile=test/lint/tools.mod

generate: ## Write what is made: CRDs and deep copies of the types in api/v1alpha1, gRPC of the contracts in plugins
	$(GO_TOOL) controller-gen object:headerFile=test/lint/header.go.txt \
		paths=./api/v1alpha1 output:object:dir=$(OUT)/api/v1alpha1
	$(GO_TOOL) controller-gen crd:headerFile=test/lint/header.yaml.txt paths=./api/v1alpha1 output:crd:dir=$(OUT)/crds.new
	mkdir -p $(OUT)/deploy/base $(OUT)/deploy/components/sticky
	mv $(OUT)/crds.new/flock.fritzlab.net_nodeconfigs.yaml $(OUT)/deploy/base/nodeconfigs.flock.fritzlab.net.yaml
	mv $(OUT)/crds.new/flock.fritzlab.net_stickyaddresses.yaml $(OUT)/deploy/components/sticky/stickyaddresses.flock.fritzlab.net.yaml
	rmdir $(OUT)/crds.new
	@command -v protoc >/dev/null || test/packages protoc:protobuf-compiler
	protoc --plugin=$$($(GO_TOOL) -n protoc-gen-go) --plugin=$$($(GO_TOOL) -n protoc-gen-go-grpc) \
		--go_out=paths=source_relative:$(OUT) --go-grpc_out=paths=source_relative:$(OUT) $(PROTOS:=.proto)
	sed -i '/^\/\/ .*protoc  *v[0-9.]*$$/d' $(patsubst %,$(OUT)/%,$(filter %.pb.go,$(GENERATED))) # which protoc it was

image: build ## Build the images as OCI archives into bin/image, and where Docker runs into it too. TAG=dev
	$(GO) run ./deploy/image -tag $(TAG)
	@if docker version >/dev/null 2>&1; then for target in flock bird; do \
		docker build --target $$target --tag localhost/flock/$$target:$(TAG) . || exit 1; done; fi

demo: packages ## Show two nodes, a router and pods in namespaces; as root. DEMO_KEEP=1 leaves them up
	@$(GO) run ./test/demo

# What one cluster on this machine takes, besides what the demo does.
CLUSTER_PACKAGES := containerd runc nft:nftables

cluster: export MORE := $(CLUSTER_PACKAGES)
cluster: packages image ## Bring up a Kubernetes cluster with flock on this machine; as root. Again: load what changed
	@$(GO) build -o bin/cluster ./test/cluster/run && bin/cluster $(CLUSTERFLAGS) up

cluster-down: ## Remove what make cluster brought up
	@$(GO) build -o bin/cluster ./test/cluster/run && bin/cluster $(CLUSTERFLAGS) down

# Verbose: the measured times are what it prints. CLUSTERTESTFLAGS is "-run TestScale", "-args -keep" or "-args -rounds=1".
test-cluster: export MORE := $(CLUSTER_PACKAGES)
test-cluster: packages ## Try everything on a cluster of its own; as root
	@$(GO) run ./test/apiserver/build -cluster
	$(GO_TOOL) gotestsum --format standard-verbose -- \
		-tags cluster -count=1 -timeout 60m ./test/cluster/e2e $(CLUSTERTESTFLAGS)

test: export MORE := containerd
test: packages ## Run every test; as root
	@$(GO) run ./test/apiserver/build
	$(GO_TOOL) gotestsum --format pkgname -- -count=1 -timeout 40m ./...

bench: packages ## Compare with ptp and bridge, about 6 minutes; as root. BENCHFLAGS=-quick is shorter
	@$(GO) run ./test/bench $(BENCHFLAGS)

lint: ## Check the form of the code: gofmt, vet, staticcheck, test/lint, go.mod, what is generated
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "gofmt -w $$unformatted"; exit 1; }
	$(GO) vet -tags cluster ./...
	$(GO_TOOL) staticcheck -tags cluster ./...
	$(GO) run ./test/lint
	$(GO) mod tidy -diff
	@out=$$(mktemp -d) && trap 'rm -r $$out' EXIT && $(MAKE) -s generate OUT=$$out && for file in $(GENERATED); do \
		diff -u $$file $$out/$$file || { echo "make generate"; exit 1; }; done

fuzz: ## Run every fuzz test for FUZZTIME (20s)
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed 's|/[^/]*:func | |' | \
	while read -r dir name; do \
		$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) $$dir || exit 1; \
	done

clean: ## Remove what was built
	rm -rf bin

packages:
	@test/packages $(MORE)
