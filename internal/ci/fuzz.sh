#!/bin/bash
# Runs every fuzz function of the module for a time each; stops early, without
# failing, when a total is used up. A failing input stays in testdata/fuzz.
# Usage: fuzz.sh TIME-EACH [SECONDS-IN-ALL]
set -euo pipefail
each=$1 total=${2:-0}

run=0 left=0 total_start=$SECONDS
while IFS=: read -r file name; do
	if [ "$total" -gt 0 ] && [ $((SECONDS - total_start)) -ge "$total" ]; then
		left=$((left + 1))
		continue
	fi
	package=./$(dirname "$file")
	echo "fuzz: $package $name"
	go test "$package" -run '^$' -fuzz "^$name\$" -fuzztime "$each" -fuzzminimizetime 10x >"${TMPDIR:-/tmp}/fuzz.$$" 2>&1 ||
		{ cat "${TMPDIR:-/tmp}/fuzz.$$"; exit 1; }
	run=$((run + 1))
done < <(git ls-files -co --exclude-standard '*_test.go' | grep -v /testdata/ |
	xargs grep -HoE '^func Fuzz[A-Za-z0-9_]+' | sed 's/:func /:/' | sort)
rm -f "${TMPDIR:-/tmp}/fuzz.$$"
[ "$run" -gt 0 ] || { echo "fuzz: found no fuzz function" >&2; exit 1; }
echo "fuzz: $run functions, $each each; $left left out for time"
