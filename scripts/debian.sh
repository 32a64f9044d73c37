# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154
# Functions that get packages and root directories from Debian. Source it after lib.sh.

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
# the TYPE deb-src, their sources, with a state apart from the host's.
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
	need_disk 2
	mirror=$(debian_mirror)
	new=$(mktemp -d "$cache/new.XXXXXX")
	trap 'rm -rf "$new"' EXIT

	# Valid-Until is left out, as forky's Release is past it at times; its signature is
	# checked. A tar, unpacked by the user that runs this, works for root and for others.
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
