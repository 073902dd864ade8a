# syntax=docker/dockerfile:1

# docker build --build-arg REVISION="$(git rev-parse --short=12 HEAD)" --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" -t counter-api .
#
# A release, of both architectures (nothing here names one), the same whenever it is built: the times in its layers are the commit's, and
# the compiler and the base, which are arguments for this, are named by digest. That is so of the image of each architecture; the index around
# them lists buildx's attestations too, which tell when it was built, unless --provenance=false leaves them out.
#
#   docker buildx build --platform linux/amd64,linux/arm64 \
#     --build-arg REVISION="$(git rev-parse --short=12 HEAD)" --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" \
#     --build-arg RUST_IMAGE=rust:1.95.0-bookworm@sha256:… --build-arg RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot@sha256:… \
#     --output type=image,name=registry.example.com/counter-api:0.1.0,push=true,rewrite-timestamp=true .
ARG RUST_IMAGE=rust:1.95.0-bookworm
# The C library and nothing to log in with: no shell, no package manager, user 65532. Its Debian is the compiler's.
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST_IMAGE} AS build
WORKDIR /build
# Paths of the machine that builds must not get into the binary, and no chance: the driver's macros name things by a number that const-random
# draws when it is compiled, unless it is given a seed.
ENV CARGO_HOME=/cargo CONST_RANDOM_SEED=counter-api RUSTFLAGS="--remap-path-prefix=/build=. --remap-path-prefix=/cargo=cargo"

# The dependencies first, over sources that do nothing: this layer is built again only when they change.
COPY Cargo.toml Cargo.lock build.rs ./
RUN mkdir -p src benches/throughput data \
    && echo 'fn main() {}' >src/main.rs \
    && cp src/main.rs benches/throughput/main.rs \
    && touch src/lib.rs \
    && cargo build --locked --release --lib --bins

COPY src src
# Stands in /version and in counter_api_build_info.
ARG REVISION=unknown
# The stubs are newer than the sources of an old commit, so cargo would take them for what it has built already.
RUN touch src/main.rs src/lib.rs \
    && COUNTER_REVISION="${REVISION}" cargo build --locked --release --lib --bins \
    && target/release/counter-api --version \
    && cp "$(rustc --print sysroot)/share/doc/rust/COPYRIGHT-library.html" .

FROM ${RUNTIME_IMAGE}
ARG REVISION=unknown
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="counter-api" \
      org.opencontainers.image.description="Incrementing integers as a service: unique, gapless, durable, observable" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian12:nonroot"
# What the licences ask to go with the binary: ours, those of the crates in it, and those of the Rust standard library.
COPY LICENSE-APACHE LICENSE-MIT THIRD-PARTY.txt /usr/share/doc/counter-api/
COPY --from=build /build/COPYRIGHT-library.html /usr/share/doc/counter-api/rust-standard-library.html
COPY --from=build /build/target/release/counter-api /usr/bin/counter-api
# For the embedded store, data/counter.redb, where no database is named.
COPY --from=build --chown=65532:65532 /build/data /data
WORKDIR /
ENV COUNTER_LISTEN=0.0.0.0:8080 \
    COUNTER_ADMIN_LISTEN=0.0.0.0:9464
USER 65532:65532
VOLUME /data
EXPOSE 8080 9464
# Longer than the drain: docker kills after 10 s unless it is told `--stop-timeout 60`.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --start-interval=1s --retries=3 \
    CMD ["/usr/bin/counter-api", "healthcheck"]
ENTRYPOINT ["/usr/bin/counter-api"]
