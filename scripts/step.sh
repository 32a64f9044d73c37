# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154
# Run the steps of a target, and say what each is for and how far it is. scripts/lib.sh sources this.

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
	# What virtme-ng misses in a small root is no fault.
	[ -n "$line" ] || line=$(grep -av "virtme-ng-init: WARNING" "$cache/log/$name.log" | tail -n 1 || true)
	line=$(tr -cd '[:print:]' <<<"$line" | cut -c1-60)
	echo "$so_far${line:+: $line}"
}

# at_exit COMMAND: run COMMAND, too, when this script ends.
at_exit() {
	local before
	before=$(trap -p EXIT)
	eval "set -- \"\$1\" $before"
	# shellcheck disable=SC2064
	trap "$1${4:+; $4}" EXIT
}

# beside COMMAND...: run COMMAND while this script goes on, up to `together`.
beside() {
	set -m
	# It may print where a terminal stops what does so in the background.
	# shellcheck disable=SC2030
	(trap - EXIT; trap '' TTOU; beside=(); "$@") &
	# shellcheck disable=SC2031
	beside+=($!)
	set +m
	# shellcheck disable=SC2016
	[ ${#beside[@]} != 1 ] || at_exit '[ ${#beside[@]} = 0 ] || kill -- "${beside[@]/#/-}" 2>/dev/null || true'
}
beside=()

# together [ended]: wait for all that run beside this script, or only for those that have ended, and fail if
# one failed.
together() {
	local n
	for n in "${!beside[@]}"; do
		[ -z "${1:-}" ] || ! kill -0 "${beside[n]}" 2>/dev/null || continue
		wait "${beside[n]}" || die 'what ran beside this failed, for the reason above'
		unset "beside[n]"
	done
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
	# shellcheck disable=SC2016
	at_exit '[ -z "$step_pid" ] || kill -- "-$step_pid" 2>/dev/null || true'
	# In a separate process group, so that all of it ends with this script.
	set -m
	"$@" >"$log" 2>&1 9>&- </dev/null &
	step_pid=$!
	pid=$step_pid
	set +m
	while sleep 0.2; kill -0 $pid 2>/dev/null; do
		together ended
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
