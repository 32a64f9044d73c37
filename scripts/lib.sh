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

# purpose NAME: what that step is for, by scripts/steps.
purpose() {
	local pattern text
	while IFS=$'\t' read -r pattern text; do
		# shellcheck disable=SC2053
		if [[ $pattern != '#'* && $1 == $pattern ]]; then
			echo "$text"
			return
		fi
	done <"$top/scripts/steps"
}

# duration SECONDS
duration() { if [ "$1" -lt 120 ]; then echo "$1 s"; else echo "$((($1 + 30) / 60)) min"; fi; }

# progress NAME SECONDS: how far that step is after SECONDS. With objects_in=DIR, it builds a
# kernel in DIR: how many objects there are of how many, and the time left by what came before.
# The last build of all of it says how many; before there is one, twice the options that are on,
# which was within 10 % of it.
progress() {
	local name=$1 seconds=$2 last so_far all about='' there new line
	last=$(cat "$cache/times/$name" 2>/dev/null || true)
	so_far=$(duration "$seconds")
	if [ -n "$last" ] && [ "$seconds" -le "$last" ]; then
		so_far+=" of about $(duration "$last")"
	elif [ -n "$last" ]; then
		so_far+=", longer than the last time, $(duration "$last")"
	fi
	if [ -n "${objects_in:-}" ]; then
		new=$(find "$objects_in" -name '*.o' -newer "$cache/log/$name.start" 2>/dev/null | wc -l)
		there=$(find "$objects_in" -name '*.o' 2>/dev/null | wc -l)
		all=$(cat "$cache/times/$name.objects" 2>/dev/null) || {
			about='about '
			all=$(($(grep -cE '=[ym]$' "$objects_in/.config" 2>/dev/null || true) * 2))
		}
		if [ -n "${whole:-}" ] && [ "$new" -gt 0 ] && [ "$there" -lt "$all" ]; then
			echo "$(duration "$seconds"), $there of $about$all objects, $(duration $((seconds * (all - there) / new))) left"
		else
			echo "$so_far, $new objects built"
		fi
		return
	fi
	# A guest reports what it does now in lines of the lab.
	line=$(grep -a '^rustgem: ' "$cache/log/$name.log" | tail -n 1 | cut -c10- || true)
	[ -n "$line" ] || line=$(tail -n 1 "$cache/log/$name.log")
	line=$(tr -cd '[:print:]' <<<"$line" | cut -c1-60)
	echo "$so_far${line:+: $line}"
}

# step NAME COMMAND...: print what NAME is for, and run COMMAND with its output in a log. Report
# every 15 s how far it is. If it fails, print the log's end.
step() {
	local name=$1 log=$cache/log/$1.log last=$cache/times/$1 start=$SECONDS pid status=0 callers text whole=
	shift
	text=$(purpose "$name")
	say "$name${text:+: $text}$([ ! -s "$last" ] || echo " (last time $(duration "$(cat "$last")"))")"
	touch "$cache/log/$name.start"
	[ -z "${objects_in:-}" ] || [ -e "$objects_in/vmlinux" ] || whole=1
	callers=$(trap -p EXIT)
	step_pid=
	trap '[ -z "$step_pid" ] || kill -- "-$step_pid" 2>/dev/null || true' EXIT
	# In a separate process group, so that all of it ends with this script.
	set -m
	"$@" >"$log" 2>&1 9>&- </dev/null &
	step_pid=$!
	pid=$step_pid
	set +m
	while sleep 0.2; kill -0 $pid 2>/dev/null; do
		if (( (SECONDS - start) % 15 == 14 )); then
			say "  $name: $(progress "$name" $((SECONDS - start + 1)))"
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
	[ -z "$whole" ] || find "$objects_in" -name '*.o' | wc -l >"$last.objects"
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

# suites_of TARGET: the KUnit suites that only this target runs.
suites_of() { awk -F '\t' -v target="$1" '$2 == target { print $1 }' "$top/expect/suites.txt"; }

# Apply all of tests/mutations to the kernel with the series, in a separate index, which
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
	tools="$(rustc -V | cut -d' ' -f1,2), clang $("clang$LLVM" --version | sed -nE '1s/.*version ([0-9.]+).*/\1/p')"
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
