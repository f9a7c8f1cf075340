# Recipes of K-Cluster. `make` alone lists them.

CARGO ?= cargo
TARGET ?= $(or $(CARGO_TARGET_DIR),target)
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
# What makes namespaces, mounts and engines runs as root; what is compiled does not.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo -E)
AS_ROOT = $(if $(SUDO),CARGO_TARGET_$(shell echo $(HOST) | tr a-z- A-Z_)_RUNNER='$(SUDO)')
# The playground is built without optimization, three times as fast; PROFILE=release for figures.
PROFILE ?= dev
OUT = $(TARGET)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
BOXES ?= 3
BROKER ?= embedded
FUZZ_SECONDS ?= 60
SECONDS ?= 600
SEED ?=

# The functions run in an image that holds nothing else: no shared libraries. Other flags than
# everything else is compiled with, so a directory of its own.
STATIC = RUSTFLAGS="-C target-feature=+crt-static" $(CARGO) build --package kc-function --target $(HOST) --target-dir $(TARGET)/static

.PHONY: help build programs playground playground-check playground-down test test-build unit e2e chaos soak lint check bench bench-quick fuzz cross bpf setup-build setup-bench

help:
	@echo 'make playground        build, then start three boxes on this machine and send requests through a chain'
	@echo 'make playground-check  send the requests again and judge them'
	@echo 'make playground-down   take all of it away'
	@echo 'make test              every test, end-to-end ones included'
	@echo 'make unit              the tests that need no playground'
	@echo 'make e2e               the end-to-end test alone'
	@echo 'make chaos             a minute of kills, cuts, wrong clocks and full disks; SEED=n for another'
	@echo 'make soak              the same for SECONDS=600'
	@echo 'make lint              format, clippy, docs, dependency policy'
	@echo 'make check             lint and test'
	@echo 'make build             release programs in $(TARGET)/release'
	@echo 'make bench             benchmarks, those against peers among them'
	@echo 'make bench-quick       the main figures against peers, in a few minutes'
	@echo 'make fuzz              every fuzz target, FUZZ_SECONDS=60 each; TARGETS="forwarder/wire ..." for some'
	@echo 'make cross             programs for armv7 and aarch64, run under qemu'
	@echo 'make bpf               programs that run in the kernel (clang, llvm, libbpf-dev)'
	@echo
	@echo 'BOXES=3, BROKER=embedded|mosquitto and PROFILE=dev|release shape the playground.'

setup-build:
	@tests/setup.sh build

build:
	@$(MAKE) --no-print-directory programs PROFILE=release

programs: setup-build
	$(STATIC) --profile $(PROFILE)
	$(CARGO) build --profile $(PROFILE) --package kc-controller --package kc-agent --package kc-forwarder --bins
	@install -m 755 $(TARGET)/static/$(HOST)/$(notdir $(OUT))/kc-function $(OUT)/kc-function

playground: programs
	@tests/setup.sh playground
	@$(if $(filter mosquitto,$(BROKER)),tests/setup.sh mosquitto)
	$(SUDO) $(OUT)/kc playground up --boxes $(BOXES) --broker $(BROKER)

playground-check:
	$(SUDO) $(OUT)/kc playground check

playground-down:
	$(SUDO) $(OUT)/kc playground down

test: unit e2e chaos

# All of the workspace at once, here and below: cargo would compile dependencies again for
# another selection of packages.
test-build: setup-build
	@tests/setup.sh test
	$(STATIC)
	$(CARGO) build --workspace --bins --tests

unit: test-build
	$(AS_ROOT) $(CARGO) test --workspace

e2e: test-build
	$(AS_ROOT) KC_TEST_FUNCTION=$(abspath $(TARGET))/static/$(HOST)/debug/kc-function \
	    $(CARGO) test --workspace --test e2e --test physical -- --nocapture

# The same story each time, so that a failure is news; `make soak` tells others.
chaos: SEED := $(or $(SEED),1)
chaos: test-build
	$(AS_ROOT) KC_TEST_FUNCTION=$(abspath $(TARGET))/static/$(HOST)/debug/kc-function \
	    KC_CHAOS_SEED=$(SEED) KC_CHAOS_SECONDS=60 \
	    $(CARGO) test --workspace --test chaos -- --nocapture

soak: test-build
	$(AS_ROOT) KC_TEST_FUNCTION=$(abspath $(TARGET))/static/$(HOST)/debug/kc-function \
	    KC_CHAOS_SEED=$(SEED) KC_CHAOS_SECONDS=$(SECONDS) \
	    $(CARGO) test --workspace --test chaos -- --nocapture

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check; \
	else echo 'lint: cargo-deny is not installed; the dependency policy (deny.toml) was not checked'; fi

check: lint test

bench: setup-bench
	$(CARGO) bench --package kc-forwarder --package kc-controller
	$(AS_ROOT) $(CARGO) bench --package kc-tests --bench peers
	@$(MAKE) --no-print-directory programs PROFILE=release
	$(STATIC)
	$(AS_ROOT) MALLOC_ARENA_MAX=1 $(CARGO) bench --package kc-tests --bench agent

bench-quick: setup-bench
	$(AS_ROOT) $(CARGO) bench --package kc-tests --bench peers -- --quick

setup-bench:
	@tests/setup.sh build playground mosquitto bench

fuzz:
	FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz.sh $(TARGETS)

cross:
	cross/build.sh

# What runs in the kernel. Objects are committed, so that a build needs no clang; a test compares
# the sums.
BPF = clang -O2 -Wall -Werror -I/usr/include/$(shell uname -m)-linux-gnu
bpf:
	cd forwarder/bpf && $(BPF) -target bpfel -c xsk.bpf.c -o xsk.bpf.o
	cd forwarder/bpf && for name in fast lost; do \
	    $(BPF) -target bpfel -g -mcpu=v3 -c $$name.bpf.c -o $$name.bpf.o && llvm-strip -g $$name.bpf.o || exit 1; done
	cd forwarder/bpf && sha256sum *.bpf.c *.bpf.o >SHA256SUMS
