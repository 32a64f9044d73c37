# SPDX-License-Identifier: GPL-2.0

.PHONY: help run world soak test check bisect debug kcsan kmsan preempt inlined faults mutations matrix bench bench-count bench-compare profile fuzz kunitconfigs bare results series mails tree refresh update clean
.DEFAULT_GOAL := help

RUSTGEM_CACHE ?= $(HOME)/.cache/rustgem
TREE ?= $(RUSTGEM_CACHE)/tree
OUT ?= out/series
SECONDS ?= 60
SEED ?=
KERNEL ?= guest
export RUSTGEM_CACHE
# bash would count on from it.
unexport SECONDS

# `##@` begins a group of targets, and `##` describes one. The times come from docs/; those of the
# parts of a target are added.
##@ To try it
help: ## show this list
	@echo 'make TARGET [VARIABLE=VALUE...]: target, time of its last run, and what it does. Start with `make test`.'
	@echo
	@awk '/^## `make / { name = $$3; gsub(/[`:]/, "", name) } \
		/^- \*\*(Time|Last run[^*]*)\*\*: [0-9]/ { sub(/^[^:]*: /, ""); sub(/[,;.(].*/, ""); \
			all[name] += $$1 * ($$2 == "s" ? 1 : 60); \
			time[name] = all[name] < 120 ? all[name] " s" : int(all[name] / 60 + 0.5) " min" } \
		/^##@ / { print (group++ ? "\n" : "") substr($$0, 5) } \
		/^[a-z-]+:.*## / { name = $$0; sub(/:.*/, "", name); sub(/.*## /, ""); printf "  make %-13s %-7s %s\n", name, time[name], $$0 } \
		' docs/*.md $(MAKEFILE_LIST)
	@echo
	@echo 'Variables'
	@echo '  KSRC=DIR        use your kernel tree, which is never modified, instead of fetching one; KREV=REV of it'
	@echo '  LLVM=-22        use clang-22, not the clang that the lab would choose'
	@echo '  ALL=1           run again in `make run` and `make test` what nothing has changed for'
	@echo '  MEMORY=10G      memory of the guest'
	@echo '  NAMES="A B"     run only these of `make mutations` or `make matrix`'
	@echo '  SECONDS=N       how long the fuzzer runs on each driver: $(SECONDS)'
	@echo '  SEED=N          repeat the random choices of a run of `make fuzz`, which prints its seed'
	@echo '  SIGNOFF=1       sign off the commits of `make tree` and `make mails`; AUTHOR="NAME <MAIL>" of `make tree`'
	@echo '  RUSTGEM_MIRROR=URL  a Debian mirror, if the lab finds none: for machines without apt'
	@echo '  RUSTGEM_CACHE   directory of downloads, tools and builds: $(RUSTGEM_CACHE)'
	@echo
	@echo 'Times are for 2 cores without KVM. docs/ has the commit of each, and the time of builds where it was'
	@echo 'counted apart. A target without a time has none that was kept. README.md has the time of first runs.'

run: ## run IGT and kselftests on VGEM in C and in Rust, each in a virtual machine
	@scripts/run

test: ## run KUnit on UML, Loom, compile-fail and the tests of the lab, without a virtual machine
	@scripts/test

##@ To work on the series
tree: ## make a kernel git tree with one commit for each patch, in TREE=DIR
	@linux=$$(scripts/fetch) && scripts/series tree --linux "$(RUSTGEM_CACHE)/linux/$$linux" $(if $(SIGNOFF),--signoff) $(if $(AUTHOR),--author "$(AUTHOR)") "$(TREE)"

refresh: ## take the commits in TREE=DIR back into this repository
	@scripts/series refresh $(if $(FORCE),--force) "$(TREE)"

check: ## run the kernel's checkers: checkpatch, rustfmt, Clippy, sparse, rustdoc, Sphinx, …
	@scripts/check

bisect: ## build each patch and run KUnit at it; limited by PART=, with ALONE=1, or by FROM= and TO=
	@PART="$(PART)" ALONE="$(ALONE)" FROM="$(FROM)" TO="$(TO)" scripts/bisect

kunitconfigs: ## run KUnit with each .kunitconfig of the series alone
	@scripts/kunitconfigs

##@ To send the series
ifdef BASE
series: OUT = out/series-$(notdir $(BASE:/=))
series:
	@scripts/bases "$(BASE)" "$(OUT)"
else
series: ## print the patches and write them for `git am` to OUT=out/series; BASE=, see docs/bases.md
	@linux=$$(scripts/fetch) && scripts/series export --linux "$(RUSTGEM_CACHE)/linux/$$linux" -o "$(OUT)" && \
		scripts/limits "$(OUT)"
endif

mails: OUT = out/mails
mails: ## check the series with b4 and write the mails to OUT=out/mails; SIGNOFF=1 signs off
	@scripts/mails "$(TREE)" "$(OUT)" $(if $(SIGNOFF),--signoff)

##@ To find faults
debug: ## run KUnit, IGT, kselftests and the fuzzer on VGEM in Rust, with KASAN, lockdep and kmemleak
	@scripts/debug debug "$(SECONDS)" $(SEED)

kcsan: ## the same, to detect data races in C and in Rust (KCSAN), with 4 CPUs
	@CPUS=4 scripts/debug kcsan "$(SECONDS)" $(SEED)

kmsan: ## the same, to detect use or leak of uninitialized memory (KMSAN)
	@scripts/debug kmsan "$(SECONDS)" $(SEED)

preempt: ## the same, with PREEMPT_RT and PREEMPT_LAZY; then suspend with a pending fence
	@scripts/debug rt "$(SECONDS)" $(SEED)
	@scripts/debug lazy "$(SECONDS)" $(SEED)
	@scripts/suspend rt

inlined: ## the same, with C helpers inlined into Rust
	@scripts/debug inlined "$(SECONDS)" $(SEED)

faults: ## make each allocation fail in turn, and check for leaks and wrong errors
	@scripts/faults

fuzz: ## make random calls on both VGEMs and the mock GPU, and compare with models; KERNEL=debug
	@scripts/fuzz "$(SECONDS)" "$(SEED)" "$(KERNEL)"

world: ## run kselftests with huge pages, as 32-bit programs and with io_uring, on both drivers
	@scripts/world

soak: ## run `make run` with 1,000,000 fences and longer races, then put load on each driver
	@scripts/soak

mutations: ## test the tests: break the series in many ways, each of which a test must catch
	@scripts/mutations $(NAMES)

matrix: ## run KUnit on Arm and with the oldest and newest toolchain; build elsewhere
	@scripts/matrix $(NAMES)

##@ To measure
bench: ## measure the abstractions and VGEM beside C, and compare with the budgets
	@scripts/bench

bench-count: ## only count: instructions, memory, stack and size of the modules, as CI does
	@scripts/bench count

bench-compare: ## compare two results.json of `make bench`, A= and B=
	@bench/compare "$(A)" "$(B)"

profile: ## print in which functions the instructions of a row of `make bench` are; ROW=, KERNEL=inline
	@scripts/bench profile $(if $(ROW),"$(ROW)")

##@ To maintain the lab
results: ## write the results of the last runs to the README and docs/, and report which are too old
	@scripts/results take

bare: ## run TARGETS="test run" in bare Debian roots, SUITES="bookworm trixie testing"; as root
	@$(if $(TARGETS),TARGETS="$(TARGETS)") scripts/bare $(SUITES)

update: ## fetch the newest point release of the kernel
	@scripts/fetch --update

clean: ## remove builds and out/, and keep downloads and tools
	@bash -euc '. scripts/lib.sh; lock; rm -rf "$$cache"/{build,bisect,mutations,c-results} out'
