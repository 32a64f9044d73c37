# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Functions that the scripts in the guest share. scripts/boot copies this directory to
# /share/guest.

debugfs=/sys/kernel/debug
mount_debugfs() { mountpoint -q $debugfs || mount -t debugfs none $debugfs; }

# install_modules FILE...: make these the modules that modprobe finds, and no others.
install_modules() {
	modules=/lib/modules/$(uname -r)
	rm -rf "$modules"
	mkdir -p "$modules"
	cp "$@" "$modules"
	touch "$modules/modules.order" "$modules/modules.builtin" "$modules/modules.builtin.modinfo"
	depmod
}
