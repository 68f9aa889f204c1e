#!/bin/bash
# Installs the programs that Capstan is measured beside, where they are missing and
# we may: restic, and Bacula 15 from Debian's backports. Nothing of it is started.
# Bacula's director cannot be configured without questions, so it is only unpacked,
# into .cache/peers.
set -euo pipefail
cache=$PWD/.cache/peers
PATH=$PATH:/usr/sbin:$cache/usr/sbin

missing=()
for p in restic fusermount bacula-dir bacula-sd bacula-fd bconsole sqlite3; do
	command -v "$p" >/dev/null || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
	echo "deps: not installed, their figures will be left out: ${missing[*]}" >&2
	exit 0
fi
"$(dirname "$0")/backports.sh"
export DEBIAN_FRONTEND=noninteractive
apt-get install -y --no-install-recommends restic fuse3 sqlite3 dbconfig-no-thanks >/dev/null
apt-get install -y --no-install-recommends -t bookworm-backports bacula-director-sqlite3 bacula-sd bacula-fd bacula-console >/dev/null
mkdir -p "$cache"
(cd "$cache" && apt-get -o APT::Sandbox::User=root download -t bookworm-backports bacula-director >/dev/null && dpkg -x bacula-director_*.deb . && rm -f -- *.deb)
