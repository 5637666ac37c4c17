# SPDX-License-Identifier: MIT OR Apache-2.0
# The entry point. Every target installs what it lacks (scripts/setup says what).
export PATH := $(HOME)/.cargo/bin:$(PATH)
.PHONY: help setup build demo quick test check bench image vm vms deb fuzz soak mutants clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## install what is missing
	@scripts/setup

build: setup ## build every program
	cargo build --workspace --locked

demo: setup ## show three VMs' windows; without a display: target/demo/heraldry.png
	@scripts/demo

quick: ## format, lints, tests of the pure crates: seconds
	@scripts/quick

test: setup ## run all tests
	# The whole-path tests run the programs themselves, which cargo test alone does not build.
	cargo build --workspace --bins --locked
	cargo test --workspace --locked
	# The same path without a device, and through one channel.
	HERALDRY_TRANSPORT=local cargo test -p heraldry-tests --test whole_path --locked
	HERALDRY_TRANSPORT=channel cargo test -p heraldry-tests --test whole_path --locked
	# Last, because machines want the processors for themselves. HERALDRY_SKIP_VM_TESTS=1 skips them, and says so.
	cargo test -p heraldry-tests --test vm --locked -- --nocapture

check: setup ## format, lints, licences, documents
	@scripts/check

bench: setup ## measure against weston, as ratios (BEFORE=REVISION: and against that commit)
	@scripts/bench

image: setup ## build what the compositor's VM boots: target/vm/image
	@scripts/image

vm: setup ## boot the compositor's VM; without a display: target/vm/heraldry.png
	@scripts/vm

vms: setup ## show programs of two real app VMs; without a display: target/vms/heraldry.png
	@scripts/vms

deb: setup ## build Debian packages: target/debian
	@scripts/deb

FUZZ_SECONDS ?= 900
fuzz: setup ## fuzz every target for FUZZ_SECONDS (900), two at a time
	@scripts/fuzz $(FUZZ_SECONDS)

SOAK_MINUTES ?= 10
soak: setup ## random hostile sessions from eight VMs for SOAK_MINUTES (10)
	@scripts/soak $(SOAK_MINUTES)

mutants: ## change the pure crates' code in small ways; 95 % must fail a test
	@scripts/mutants

clean: ## remove what was built
	cargo clean
