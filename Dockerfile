# SPDX-License-Identifier: Apache-2.0
#
# The two images that deploy/base runs, one a target. "make image" builds both, and without a Docker engine
# archives with the same programs in the same places (deploy/image). The tags stand for what they are
# today: whoever publishes images pins them by digest.

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY . .
RUN make build
# Runtimes tell of network namespaces in /var/run, and the node has them in /run.
RUN mkdir -p /rootfs/run /rootfs/var /rootfs/usr/local/bin \
	&& ln -s ../run /rootfs/var/run \
	&& cd bin && cp flock-ipam ipamd flock-veth flock-route flock-bird birdd flock-installer /rootfs/usr/local/bin/ \
	&& install -D -m 0755 -t /rootfs/usr/libexec/flock speaker-gobgp allocator-sticky

FROM debian:bookworm-slim AS bird
RUN apt-get update \
	&& apt-get install -y --no-install-recommends bird2 \
	&& rm -rf /var/lib/apt/lists/*
COPY --from=build /src/bin/birdd /usr/local/bin/
CMD ["birdd", "bird", "--help"]

FROM scratch AS flock
COPY --from=build /rootfs /
ENV PATH=/usr/local/bin
CMD ["flock-installer", "--help"]
