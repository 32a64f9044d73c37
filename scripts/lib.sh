# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
# What the lab's scripts share. Source it from a script with `set -euo pipefail`.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${RUSTGEM_CACHE:-$HOME/.cache/rustgem}
jobs=${JOBS:-$(nproc)}
mkdir -p "$cache/log" "$cache/times" || exit 1

# Color, where a terminal shows what is printed: https://no-color.org.
bold='' red='' plain=''
if [ -t 2 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
	bold=$'\e[1m' red=$'\e[31m' plain=$'\e[0m'
fi
say() { printf '%srustgem:%s %s\n' "$bold" "$plain" "$*" >&2; }
die() { say "$red$*$plain"; exit 1; }

# One run at a time: all share the cache. A script that another one calls runs
# under that one's lock.
lock() {
	[ -z "${RUSTGEM_LOCKED:-}" ] || return 0
	exec 9>>"$cache/lock"
	if ! flock -n 9; then
		say "waiting for another run (process $(cat "$cache/lock.pid" 2>/dev/null || echo '?')) to end"
		flock 9
	fi
	echo $$ >"$cache/lock.pid"
	: >"$cache/began"
	# What a run that was killed had begun.
	rm -rf "$cache"/new.* "$cache"/linux/*/.git/objects/pack/tmp_*
	export RUSTGEM_LOCKED=1
}

# need_disk GB: stop before, rather than in the middle, when the disk is too small.
need_disk() {
	local free
	free=$(df -Pk "$cache" | awk 'NR == 2 { print int($4 / 1048576) }')
	[ "$free" -ge "$1" ] ||
		die "$cache has $free GB free and this needs $1 GB: free some, or set RUSTGEM_CACHE to another disk"
}

# shellcheck source=step.sh
. "$top/scripts/step.sh"

# Compile a program for the host or the guest. Only .ci/run makes warnings errors: a user may
# have a compiler that warns of more than those that the lab was tried with.
compile() { gcc -O2 -Wall -Wextra ${RUSTGEM_WERROR:+-Werror} "$@"; }

# The toolchain that `scripts/toolchain` found, for make.
toolchain() {
	"$top/scripts/toolchain"
	# shellcheck source=/dev/null
	. "$cache/toolchain.env"
	# The kernel's build has the compiler list headers anyway: with that list, ccache need not run the
	# preprocessor first. The list lacks system headers, which only the host's tools include.
	export CCACHE_DIR=$cache/ccache CCACHE_BASEDIR=$cache CCACHE_MAXSIZE=2G CCACHE_DEPEND=1
	export KBUILD_BUILD_TIMESTAMP=@0 KBUILD_BUILD_USER=rustgem KBUILD_BUILD_HOST=rustgem
	make_args=("LLVM=$LLVM" LOCALVERSION=)
}

# The clang that LLVM= of the kernel's make names.
clang_of_kernel() {
	case $LLVM in
	-*) "clang$LLVM" "$@" ;;
	*/) "${LLVM}clang" "$@" ;;
	*) clang "$@" ;;
	esac
}

# rust_of KERNEL: have rustc instrument the kernel KERNEL of scripts/build, if clang does.
rust_of() {
	[[ $1 != k[cm]san ]] || make_args+=("RUSTC=$top/scripts/rustc-$1" "RUSTDOC=$top/scripts/rustdoc-$1")
}

# The kernel with the series: sets `base`, the pristine tree's name, and `linux`,
# a git repository whose work tree is what is built.
kernel() {
	local busy
	base=$("$top/scripts/fetch")
	linux=$cache/linux/$base
	busy=$linux/.git/rustgem-busy
	# A script that this one calls builds the same.
	[ -n "${RUSTGEM_TIP:-}" ] || RUSTGEM_TIP=$("$top/scripts/series" apply --linux "$linux")
	export RUSTGEM_TIP
	if [ -e "$busy" ]; then
		# The last checkout was interrupted.
		rm -f "$linux/.git/index.lock"
		git -C "$linux" reset -q --hard
	fi
	[ -z "$(git -C "$linux" status --porcelain)" ] ||
		die "$linux was edited by hand, and is only there to be built: take the edits to \`make tree\`, then remove them"
	touch "$busy"
	git -C "$linux" checkout -q --detach "$RUSTGEM_TIP"
	rm "$busy"
}

# suites_of TARGET: the KUnit suites that only this target runs.
suites_of() { awk -F '\t' -v target="$1" '$2 == target { print $1 }' "$top/expect/suites.txt"; }

# Apply all of tests/mutations to the kernel with the series, in a separate index, which
# `mutations` becomes. Each that does not apply is named.
mutate() {
	local patch bad=0
	mutations=$cache/mutations/index
	mkdir -p "${mutations%/*}"
	GIT_INDEX_FILE=$mutations git -C "$linux" read-tree HEAD
	# Another mutation may have changed the lines around it.
	apply() { GIT_INDEX_FILE=$mutations git -C "$linux" apply --cached -C1 "$@"; }
	# git writes the index once for all.
	! apply "$top"/tests/mutations/*.patch || return 0
	for patch in "$top"/tests/mutations/*.patch; do
		apply "$patch" || { say "${patch#"$top/"} does not apply to the series any more: fix it"; bad=1; }
	done
	return $bad
}

# The same, with all mutations, in a separate work tree.
mutated() {
	local tree commit
	kernel
	tree=$cache/mutations/$base
	mutate || exit 1
	git -C "$linux" worktree prune
	commit=$(GIT_INDEX_FILE=$mutations git -C "$linux" write-tree)
	commit=$(git -C "$linux" -c user.name=rustgem -c user.email=rustgem@localhost.invalid \
		commit-tree -p HEAD -m Mutations "$commit")
	if ! git -C "$tree" reset -q --hard 2>/dev/null; then
		rm -rf "$tree"
		step mutations-tree git -C "$linux" worktree add -f --detach "$tree" "$commit"
	fi
	git -C "$tree" checkout -q --detach "$commit"
	linux=$tree
}

# finished NAME TEXT [TABLE]: say TEXT, with which `make NAME` ends, and keep it for `make results`,
# with the time that it took and a file that has a table in Markdown.
finished() {
	local base tools file built=0
	base=$("$top/scripts/fetch")
	# shellcheck source=/dev/null
	. "$cache/toolchain.env"
	tools="$(rustc -V | cut -d' ' -f1,2), clang $(clang_of_kernel --version | sed -nE '1s/.*version ([0-9.]+).*/\1/p')"
	# The builds of its kernels are counted apart.
	for file in "$cache"/log/{configure-*,*build*}.start; do
		[ ! "$file" -nt "$cache/began" ] || built=$((built + $(cat "$cache/times/$(basename "$file" .start)")))
	done
	"$top/scripts/results" keep "$1" "$base" "$tools" $((SECONDS - built)) $built "$2" "${@:3}"
	say "$2"
}

# module OUT DIR: build the modules in DIR for the kernel that was built in OUT, there.
module() {
	mkdir -p "$1/$2"
	make -C "$linux" O="$1" "${make_args[@]}" -j"$jobs" M="$top/$2" MO="$1/$2" modules
}

# modules OUT SHARE: copy what was built in OUT to SHARE/modules, with VGEM's in c/ and
# rust/ there.
modules() {
	mkdir -p "$2/modules/c" "$2/modules/rust"
	find "$1" \( -path "$1/vgem-c" -o -path "$1/tests" -o -path "$1/bench" -o -path '*/vgem/rust' \) -prune \
		-o -name '*.ko' -exec cp -t "$2/modules" {} +
	cp "$1/vgem-c/vgem.ko" "$2/modules/c"
	cp "$1/drivers/gpu/drm/vgem/rust/vgem.ko" "$2/modules/rust"
}

# guest_tests OUT SHARE: copy what scripts/guest/run needs to test what was built in OUT from $linux.
guest_tests() {
	modules "$1" "$2"
	mkdir "$2/expect" "$2/kselftest"
	cp "$top"/expect/*.txt "$top"/expect/mockgpu/*.txt "$2/expect"
	find "$1/kselftest" -type f -executable -exec cp -t "$2/kselftest" {} +
	compile -Wno-unused-parameter -static -D_GNU_SOURCE -isystem "$1/usr/include" -I "$linux/tools/testing/selftests" \
		-I "$linux/tools/testing/selftests/drivers/gpu/vgem" \
		-o "$2/kselftest/vgem_security" "$top/tests/security/vgem_security.c"
	# How much the kselftests do, if not what is usual.
	env | grep '^VGEM_[A-Z]*=[0-9]*$' >"$2/env" || true
}

# faults_user OUT FILE: build tests/faults/user for the kernel in OUT.
faults_user() {
	compile -Wno-missing-field-initializers -static -isystem "$1/usr/include" \
		-I "$linux/tools/testing/selftests/drivers/gpu/vgem" \
		-I "$linux/tools/testing/selftests/drivers/gpu/mockgpu" -o "$2" "$top/tests/faults/user.c"
}

# fences_module OUT SHARE: build tests/fences for the kernel in OUT, and copy it.
fences_module() {
	step build-fences module "$1" tests/fences
	cp "$1/tests/fences/fences.ko" "$2"
	compile -static -o "$2/user" "$top/tests/fences/user.c"
}

# fuzzer SHARE: build what scripts/guest/fuzz needs, and copy it.
fuzzer() {
	"$top/scripts/toolchain" cargo
	# shellcheck source=/dev/null
	. "$cache/toolchain.env"
	program() {
		cd "$top/fuzz" || return
		export CARGO_TARGET_DIR=$cache/build/fuzz
		cargo build --release
		cargo test --release
	}
	step fuzz-build program
	cp -r "$cache/build/fuzz/release/fuzz" "$top/fuzz/regressions" "$1"
}
