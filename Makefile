# SPDX-License-Identifier: GPL-2.0

.PHONY: help run world soak test check bisect debug kcsan kmsan preempt faults mutations matrix bench bench-compare profile fuzz kunitconfigs series mails tree refresh update clean
.DEFAULT_GOAL := help

RUSTGEM_CACHE ?= $(HOME)/.cache/rustgem
TREE ?= $(RUSTGEM_CACHE)/tree
OUT ?= out/series
SECONDS ?= 60
SEED ?=
KERNEL ?= guest
export RUSTGEM_CACHE

help: ## show this list
	@awk -F ': .*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  KSRC=DIR       use that kernel tree, which is only read, instead of fetching one'
	@echo '  NAMES="A B"    only those of `make mutations`, or of `make matrix`'
	@echo '  SEED=N         make the same random choices as that run of `make fuzz`, which tells its seed'
	@echo '  RUSTGEM_CACHE  where downloads, tools and builds are: $(RUSTGEM_CACHE)'

run: ## build a kernel, boot it, and run IGT and kselftests on VGEM in C and in Rust
	@scripts/run

world: ## run kselftests with huge pages, as 32-bit programs and with io_uring, on both drivers
	@scripts/world

soak: ## the same with 1,000,000 fences and 200,000 races on each, and load
	@scripts/soak

test: ## run the lab's own tests, the round trip of the series, loom models and KUnit
	@scripts/test

check: ## run checkpatch, rustfmt, clippy, sparse, rustdoc, Sphinx, ... on the series
	@scripts/check

bisect: ## build each patch by itself, and run KUnit at it, or those from FROM= to TO=
	@FROM="$(FROM)" TO="$(TO)" scripts/bisect

debug: ## run KUnit, IGT, kselftests and the fuzzer with KASAN, lockdep, kmemleak and debug objects
	@scripts/debug debug "$(SECONDS)" $(SEED)

kcsan: ## run the same with 4 CPUs, in a kernel that looks for data races in C and in Rust
	@CPUS=4 scripts/debug kcsan "$(SECONDS)" $(SEED)

kmsan: ## run the same in a kernel that looks for what is used, or shown to user space, unwritten
	@scripts/debug kmsan "$(SECONDS)" $(SEED)

preempt: ## run the same with PREEMPT_RT and PREEMPT_LAZY, and let the machine sleep beside a fence
	@scripts/debug rt "$(SECONDS)" $(SEED)
	@scripts/debug lazy "$(SECONDS)" $(SEED)
	@scripts/suspend rt

faults: ## let each allocation fail in turn, in the abstractions and in VGEM, and look at what is left
	@scripts/faults

mutations: ## break the series in many ways, one at a time, and see that `make debug` would notice
	@scripts/mutations $(NAMES)

matrix: ## run KUnit on arm64 and arm, with the oldest toolchain and with the newest; build elsewhere
	@scripts/matrix $(NAMES)

bench: ## measure the abstractions and VGEM beside those in C, against their budgets
	@scripts/bench

bench-compare: ## compare two results.json of `make bench`, A= and B=
	@bench/compare "$(A)" "$(B)"

profile: ## say which functions the instructions of each row of `make bench` are in, or ROW=
	@scripts/bench profile $(if $(ROW),"$(ROW)")

fuzz: ## use VGEM in C and in Rust at random, for SECONDS=60 each, in KERNEL=guest or debug
	@scripts/fuzz "$(SECONDS)" "$(SEED)" "$(KERNEL)"

kunitconfigs: ## run KUnit on UML with each .kunitconfig of the series by itself
	@scripts/kunitconfigs

ifdef BASE
series: OUT = out/series-$(notdir $(BASE:/=))
series:
	@scripts/bases "$(BASE)" "$(OUT)"
else
series: ## write the patches that `git am` takes to OUT=out/series; for another kernel, BASE=
	@linux=$$(scripts/fetch) && scripts/series export --linux "$(RUSTGEM_CACHE)/linux/$$linux" -o "$(OUT)"
endif

mails: OUT = out/mails
mails: ## have b4 check the series, and write the mails to OUT=out/mails; SIGNOFF=1 signs off
	@scripts/mails "$(TREE)" "$(OUT)" $(if $(SIGNOFF),--signoff)

tree: ## make a kernel git tree with one commit for each patch, in TREE
	@linux=$$(scripts/fetch) && scripts/series tree --linux "$(RUSTGEM_CACHE)/linux/$$linux" $(if $(SIGNOFF),--signoff) "$(TREE)"

refresh: ## take commits, amended or added in TREE, back into the overlay and series/
	@scripts/series refresh $(if $(FORCE),--force) "$(TREE)"

update: ## fetch the newest point release of the kernel
	@scripts/fetch --update

clean: ## remove the builds, but not the downloads and tools
	rm -rf "$(RUSTGEM_CACHE)/build" "$(RUSTGEM_CACHE)/bisect" "$(RUSTGEM_CACHE)/mutations" out
