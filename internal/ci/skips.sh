#!/bin/bash
# Reads the output of "go test -v" and fails if a test was skipped that
# internal/ci/skips.txt does not allow. Usage: skips.sh OUTPUT
set -euo pipefail
allowed=$(dirname "$0")/skips.txt

skipped=$(grep -oE '^ *--- SKIP: [^ ]+' "$1" | awk '{print $3}' | sort -u || true)
bad=()
for t in $skipped; do
	grep -qE "^${t%%/*}(/|[[:space:]]|$)" "$allowed" || bad+=("$t")
done
if [ ${#bad[@]} -gt 0 ]; then
	echo "skips: tests were skipped that internal/ci/skips.txt does not allow:" >&2
	printf '  %s\n' "${bad[@]}" >&2
	exit 1
fi
