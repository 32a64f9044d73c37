# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
# What the lab's scripts share. Source it from a script with `set -euo pipefail`.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${RUSTGEM_CACHE:-$HOME/.cache/rustgem}
jobs=${JOBS:-$(nproc)}
mkdir -p "$cache/log" "$cache/times" || exit 1

say() { printf 'rustgem: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

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
	# What a run that was killed had begun.
	rm -rf "$cache"/new.*
	export RUSTGEM_LOCKED=1
}

# need_disk GB: stop before, rather than in the middle, when the disk is too small.
need_disk() {
	local free
	free=$(df -Pk "$cache" | awk 'NR == 2 { print int($4 / 1048576) }')
	[ "$free" -ge "$1" ] ||
		die "$cache has $free GB free and this needs $1 GB: free some, or set RUSTGEM_CACHE to another disk"
}

# step NAME COMMAND...: run it with its output in a log, and tell how far it is: the
# time, that of the last time, and the last line. When it fails, print the log's end.
step() {
	local name=$1 log=$cache/log/$1.log last=$cache/times/$1 start=$SECONDS pid status=0 callers
	shift
	say "$name$([ ! -s "$last" ] || echo " (last time $(cat "$last") s)")"
	# In a process group of its own, so that all of it ends with this script.
	set -m
	"$@" >"$log" 2>&1 9>&- </dev/null &
	pid=$!
	set +m
	callers=$(trap -p EXIT)
	# shellcheck disable=SC2064
	trap "kill -- -$pid 2>/dev/null || true" EXIT
	while sleep 0.2; kill -0 $pid 2>/dev/null; do
		if (( (SECONDS - start) % 15 == 14 )); then
			say "  $name: $((SECONDS - start + 1)) s: $(tail -n 1 "$log" | tr -cd '[:print:]' | cut -c1-60)"
			sleep 1
		fi
	done
	wait $pid || status=$?
	eval "${callers:-trap - EXIT}"
	if [ $status != 0 ]; then
		# Of Python's tracebacks, the last line says what is wrong.
		awk '/^Traceback \(most recent call last\):$/ { inside = 1; next }
			inside && /^[[:space:]]/ { next } { inside = 0; print }' "$log" | tail -n "${TAIL:-25}" >&2
		die "$name failed$(missing_in "$log"); its whole output is in $log"
	fi
	echo $((SECONDS - start)) >"$last"
}

# missing_in LOG: the programs and Python modules that are not installed, by what is in LOG,
# and the package of each if scripts/needs has it.
missing_in() {
	local found name package
	found=$(sed -nE "
		s/^.*: (line )?[0-9]+: ([[:alnum:]_.+-]+): (command )?not found\$/\2/p
		s/^.*FileNotFoundError: .*No such file or directory: '([^/']+)'.*/\1/p
		s/^.*ModuleNotFoundError: No module named '([^'.]+).*/\1/p
		s/^make.*: ([[:alnum:]_.+-]+): No such file or directory\$/\1/p" "$1" | sort -u)
	for name in $found; do
		package=$(awk -F '\t' -v name="$name" '$3 == name { print $4; exit }' "$top/scripts/needs")
		printf ', as %s is missing%s' "$name" "${package:+ (install the package $package)}"
	done
}

# Compile a program for the host or the guest. Only .ci/run makes warnings errors: a user may
# have a compiler that warns of more than those that the lab was tried with.
compile() { gcc -O2 -Wall -Wextra ${RUSTGEM_WERROR:+-Werror} "$@"; }

# The mirror that the host has Debian from, for suites that it does not use.
debian_mirror() {
	local mirror=${RUSTGEM_MIRROR:-}
	# shellcheck disable=SC2016
	[ -n "$mirror" ] || mirror=$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
		awk '$1 == "Debian" { print $2; exit }')
	[ -n "$mirror" ] ||
		die "this host's apt knows no Debian archive: set RUSTGEM_MIRROR to the URL of one"
	echo "${mirror%/}"
}

# suite NAME [TYPE]: have apt look at that suite of Debian alone, for its packages or, with
# the TYPE deb-src, their sources, with a state of its own, which the host's does not see.
# Forky's Release is past its Valid-Until at times; its signature is checked.
suite() {
	local apt=$cache/apt/$1
	mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial"
	cat >"$apt/debian.sources" <<-EOF
		Types: ${2:-deb}
		URIs: $(debian_mirror)
		Suites: $1
		Components: main
		Check-Valid-Until: no
		Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
	EOF
	cat >"$apt/apt.conf" <<-EOF
		Dir::State "$apt/state";
		Dir::State::status "/dev/null";
		Dir::Cache "$apt/cache";
		Dir::Etc::SourceList "$apt/debian.sources";
		Dir::Etc::SourceParts "/dev/null";
		APT::Architecture "amd64";
		APT::Sandbox::User "root";
		APT::Update::Error-Mode "any";
		Acquire::Languages "none";
		Acquire::Retries "3";
	EOF
	export APT_CONFIG=$apt/apt.conf

	update() {
		apt-get update || {
			echo "rustgem: Debian's $1 can not be reached, or its signature is not good: check the network, or set RUSTGEM_MIRROR"
			return 1
		}
	}
	step fetch-list update "$1"
}

# debian_root SUITE PACKAGES [PATH...]: print a directory with these packages of that suite,
# with commas between them, and what they need, without documentation, and without each PATH.
debian_root() (
	# Bash takes it back in $().
	set -e
	suite=$1 packages=$2
	shift 2
	root=$cache/guest/$suite-$(echo "$packages $*" | sha256sum | cut -c1-12)
	if [ -e "$root" ]; then
		echo "$root"
		return
	fi

	[ "$(id -u)" = 0 ] || { command -v newuidmap && grep -q "^$(id -un):" /etc/subuid; } >/dev/null 2>&1 ||
		die "mmdebstrap can't make a root as $(id -un) here: run this as root, or install uidmap and give $(id -un) a range in /etc/subuid and /etc/subgid"
	need_disk 4
	mirror=$(debian_mirror)
	new=$(mktemp -d "$cache/new.XXXXXX")
	trap 'rm -rf "$new"' EXIT

	# Valid-Until is left out, as forky's Release is past it at times; its signature is
	# checked. A tar, unpacked as whoever runs this, works for root and for others.
	# shellcheck disable=SC2016
	bootstrap() {
		mmdebstrap --variant=essential --include="$packages" \
			--keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
			--aptopt='Acquire::Check-Valid-Until "false"' \
			--aptopt='Acquire::Retries "3"' \
			--dpkgopt='path-exclude=/usr/share/doc/*' \
			--dpkgopt='path-exclude=/usr/share/man/*' \
			--dpkgopt='path-exclude=/usr/share/locale/*' \
			--customize-hook='rm -rf "$1"/var/cache/apt "$1"/var/lib/apt/lists' \
			"$suite" "$new/root.tar" "deb $mirror $suite main" || {
				echo 'rustgem: Debian can not be reached, or its signature is not good: check the network, or set RUSTGEM_MIRROR'
				return 1
			}
		mkdir "$new/root"
		tar -C "$new/root" --no-same-owner --exclude='./dev/*' -xf "$new/root.tar"
		rm "$new/root.tar"
		(cd "$new/root" && rm -f "$@")
	}
	step "$suite-root" bootstrap "$@"
	mkdir -p "$cache/guest"
	mv "$new/root" "$root"
	echo "$root"
)

# The toolchain that `scripts/toolchain` found, for make.
toolchain() {
	"$top/scripts/toolchain"
	# shellcheck source=/dev/null
	. "$cache/toolchain.env"
	export CCACHE_DIR=$cache/ccache CCACHE_BASEDIR=$cache CCACHE_MAXSIZE=2G
	export KBUILD_BUILD_TIMESTAMP=@0 KBUILD_BUILD_USER=rustgem KBUILD_BUILD_HOST=rustgem
	make_args=("LLVM=$LLVM" LOCALVERSION=)
}

# rust_of KERNEL: have rustc instrument the kernel KERNEL of scripts/build, if clang does.
rust_of() {
	[[ $1 != k[cm]san ]] || make_args+=("RUSTC=$top/scripts/rustc-$1" "RUSTDOC=$top/scripts/rustdoc-$1")
}

# The kernel with the series: sets `base`, the pristine tree's name, and `linux`,
# a git repository whose work tree is what is built.
kernel() {
	local tip busy
	base=$("$top/scripts/fetch")
	linux=$cache/linux/$base
	busy=$linux/.git/rustgem-busy
	tip=$("$top/scripts/series" apply --linux "$linux")
	if [ -e "$busy" ]; then
		# The last checkout was interrupted.
		rm -f "$linux/.git/index.lock"
		git -C "$linux" reset -q --hard
	fi
	[ -z "$(git -C "$linux" status --porcelain)" ] ||
		die "$linux was edited by hand, and is only there to be built: take the edits to \`make tree\`, then remove them"
	touch "$busy"
	git -C "$linux" checkout -q --detach "$tip"
	rm "$busy"
}

# Apply all of tests/mutations to the kernel with the series, in an index of its own, which
# `mutations` becomes. Each that does not apply is named.
mutate() {
	local patch bad=0
	mutations=$cache/mutations/index
	mkdir -p "${mutations%/*}"
	GIT_INDEX_FILE=$mutations git -C "$linux" read-tree HEAD
	for patch in "$top"/tests/mutations/*.patch; do
		# Another mutation may have changed the lines around it.
		GIT_INDEX_FILE=$mutations git -C "$linux" apply --cached -C1 "$patch" ||
			{ say "${patch#"$top/"} does not apply to the series any more: fix it"; bad=1; }
	done
	return $bad
}

# The same, with all mutations, in a work tree of its own.
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

# keep NAME [TEXT]: keep the result of `make NAME` for `make results`.
keep() {
	local tools
	tools="$(rustc -V | cut -d' ' -f1,2), clang $("clang$LLVM" --version | sed -nE '1s/.*version ([0-9.]+).*/\1/p')"
	"$top/scripts/results" keep "$1" "make $1" "$base" "$tools" "${@:2}"
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

# guest_tests OUT SHARE: copy what scripts/guest-run needs to test what was built in OUT from $linux.
guest_tests() {
	modules "$1" "$2"
	mkdir "$2/expect" "$2/kselftest"
	cp "$top"/expect/*.txt "$top"/expect/mockgpu/*.txt "$2/expect"
	find "$1/kselftest" -type f -executable -exec cp -t "$2/kselftest" {} +
	compile -Wno-unused-parameter -static -D_GNU_SOURCE -isystem "$1/usr/include" -I "$linux/tools/testing/selftests" \
		-I "$linux/tools/testing/selftests/drivers/gpu/vgem" \
		-o "$2/kselftest/vgem_security" "$top/tests/security/vgem_security.c"
	cp "$top/scripts/guest-run" "$2"
	# How much the kselftests do, if not what is usual.
	env | grep '^VGEM_[A-Z]*=[0-9]*$' >"$2/env" || true
}

# faults_user OUT FILE: build tests/faults/user for the kernel in OUT.
faults_user() {
	compile -Wno-missing-field-initializers -static -isystem "$1/usr/include" \
		-I "$linux/tools/testing/selftests/drivers/gpu/vgem" -o "$2" "$top/tests/faults/user.c"
}

# fuzzer SHARE: build what scripts/guest-fuzz needs, and copy it.
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
	cp -r "$cache/build/fuzz/release/fuzz" "$top/fuzz/regressions" "$top/scripts/guest-fuzz" "$1"
}
