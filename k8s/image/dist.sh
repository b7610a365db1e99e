#!/usr/bin/env bash
# Builds the four services as static programs into dist/, for `--build-arg BINARIES=prebuilt`. On Linux with glibc.
# FEATURES=otel adds the export of traces.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=$(uname -m)-unknown-linux-gnu
# Named, so that proc macros are not linked statically: they can't be.
RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target "$target" -p microserve --bins \
    --features "${FEATURES:-}"
mkdir -p dist
for service in auth gateway converter notifier; do
    strip -o "dist/microserve-$service" "${CARGO_TARGET_DIR:-target}/$target/release/microserve-$service"
done
ls -l dist
