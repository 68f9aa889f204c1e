#!/bin/bash
# Installs the Debian packages whose programs the tests run, where they are
# missing and we may. Anywhere else it names them; the tests that need one say so.
# Usage: deps.sh [race], race for Go's race detector too.
set -euo pipefail

# program:package
needed=(
	tar:tar           # reads our images, as their oracle
	setfattr:attr     # extended attributes of test trees
	setfacl:acl       # access control lists of test trees
	nft:nftables      # the firewall between test hosts
	ip:iproute2       # the network namespaces of test hosts
	tgtd:tgt          # an iSCSI target for our initiator that is not ours
	iscsi-ls:libiscsi-bin # an iSCSI initiator for our target that is not ours
	rsync:rsync       # copies out of the mount
	git:git           # likewise, and knows whether a repository is whole
	gio:libglib2.0-bin # copies as file managers do
)
[ "${1:-}" = race ] && needed+=(gcc:build-essential) # the race detector is linked through cgo

missing=()
for n in "${needed[@]}"; do
	PATH=$PATH:/usr/sbin:/sbin command -v "${n%%:*}" >/dev/null || missing+=("${n##*:}")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
	echo "deps: not installed, some tests will say so: ${missing[*]}" >&2
	exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get install -y --no-install-recommends "${missing[@]}" >/dev/null ||
	{ apt-get update >/dev/null && apt-get install -y --no-install-recommends "${missing[@]}" >/dev/null; }
