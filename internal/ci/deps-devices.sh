#!/bin/bash
# Installs what "make test-devices" needs: Debian's user-mode Linux kernel, and the
# programs that judge the library. The kernel goes to .cache/uml, with the C library
# that it was linked with: stable Debian's own kernel cannot save the registers of
# newer processors (Linux before 6.13 has a fixed size for them), unstable's can.
set -euo pipefail
here=$(dirname "$0")
cache=$PWD/.cache/uml

needed=(taskset:util-linux tgtd:tgt mtx:mtx mt:mt-st sg_inq:sg3-utils tar:tar patchelf:patchelf)
missing=()
for n in "${needed[@]}"; do
	PATH=$PATH:/usr/sbin:/sbin command -v "${n%%:*}" >/dev/null || missing+=("${n##*:}")
done
export DEBIAN_FRONTEND=noninteractive
if [ ${#missing[@]} -gt 0 ]; then
	apt-get install -y --no-install-recommends "${missing[@]}" >/dev/null ||
		{ apt-get update >/dev/null && apt-get install -y --no-install-recommends "${missing[@]}" >/dev/null; }
fi
if ! command -v btape >/dev/null; then
	"$here/backports.sh"
	apt-get install -y --no-install-recommends -t bookworm-backports bacula-sd >/dev/null
fi
[ -x "$cache/linux.uml" ] && exit 0

# From unstable, unpacked beside the system and never installed into it.
rm -rf "$cache"
mkdir -p "$cache/lists/partial"
mirror=$(grep -rhoE 'https?://[^ ]*/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d/ 2>/dev/null | head -1 | tr -d ' ' || true)
echo "deb ${mirror:-http://deb.debian.org/debian} sid main" >"$cache/sources.list"
keys=/usr/share/keyrings/debian-archive-keyring.gpg
sed -i "s#^deb #deb [signed-by=$keys] #" "$cache/sources.list"
sid=(-o "Dir::Etc::sourcelist=$cache/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$cache/lists" -o APT::Sandbox::User=root)
apt-get "${sid[@]}" update >/dev/null
(cd "$cache" && apt-get "${sid[@]}" download user-mode-linux/sid libc6/sid >/dev/null)
for deb in "$cache"/*.deb; do
	dpkg -x "$deb" "$cache/root"
done
patchelf --set-interpreter "$cache/root/usr/lib64/ld-linux-x86-64.so.2" --set-rpath "$cache/root/usr/lib/x86_64-linux-gnu" "$cache/root/usr/bin/linux.uml"
ln -s root/usr/bin/linux.uml "$cache/linux.uml"
rm -rf "$cache"/*.deb "$cache/lists"
