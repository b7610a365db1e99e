# The few things that are done often. `make help` explains them.

.DEFAULT_GOAL := help
.PHONY: help demo test build fmt lint fuzz bench bench-cluster bench-requests chaos services sample k8s-test

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## serve, upload, download with curl, and judge the MP3 (VIDEO=file to take your own)
	@.ci/demo $(if $(VIDEO),"$(VIDEO)")

test: ## every check there is, with the time each took; installs what is missing
	@.ci/check

build: ## the release binary, in target/release/microserve
	@.ci/need build
	cargo build --release --locked -p microserve

fmt: ## format all code
	cargo fmt --all
	cargo fmt --manifest-path fuzz/Cargo.toml --all

lint: ## clippy on everything, warnings are errors
	cargo clippy --workspace --all-targets --locked -- -D warnings

fuzz: ## fuzz every target for a while (SECONDS_EACH=60, TARGET=one of them)
	@.ci/fuzz $(or $(SECONDS_EACH),60) $(TARGET)

bench: ## convert beside ffmpeg, lame and moviepy, in turns; prints a table and draws BENCHMARKS.svg
	@.ci/bench

bench-cluster: ## measure the four services on a MongoDB, a RabbitMQ and a mail server of their own
	@.ci/need test
	cargo bench --locked --quiet -p microserve --bench cluster

bench-requests: ## logins, jobs and downloads a second beside a plain axum handler; whether a refused login's time tells anything
	@.ci/need build
	cargo bench --locked --quiet -p microserve --bench requests

chaos: ## break everything that can break in a cluster, for some minutes; writes CHAOS.md
	@.ci/chaos

services: ## start a MariaDB, a MongoDB, a RabbitMQ and a mail server to develop with, until Ctrl-C
	@.ci/need test
	@cargo run --locked --quiet -p microserve-testkit --example services

sample: ## make the sample video of the demo anew
	@.ci/sample

k8s-test: ## images, and the four services in containers as k8s/ secures them (BUILT=1 takes dist/ as it is); as root
	@.ci/k8s
