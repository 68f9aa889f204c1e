#!/bin/bash
# Makes Debian's backports known to apt, from the mirror that it uses already.
set -euo pipefail
list=/etc/apt/sources.list.d/capstan-backports.list
[ -e "$list" ] && exit 0
mirror=$(grep -rhoE 'https?://[^ ]*/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d/ 2>/dev/null | head -1 | tr -d ' ' || true)
[ -n "$mirror" ] || mirror=http://deb.debian.org/debian
echo "deb $mirror bookworm-backports main" >"$list"
apt-get update >/dev/null
