#!/bin/bash
# Runs every fuzz function of the module for a time each; stops early, without
# failing, when a total is used up. A failing input stays in testdata/fuzz.
# Usage: fuzz.sh TIME-EACH [SECONDS-IN-ALL]
set -euo pipefail
each=$1 total=${2:-0}

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Until Go 1.27 the fuzzing coordinator may report the end of its own time as a failure
# (https://go.dev/issue/75804). That is so when its context's error is all that it has to
# say: a failing input, a panic, a hang or a broken build say more.
ran_its_time() {
	[ "$(grep -vE '^fuzz: elapsed: ' "$1" | sed -E 's/[0-9.]+s\)?$//')" = "--- FAIL: $2 (
    context deadline exceeded
FAIL
exit status 1
FAIL	$(go list "$package")	" ]
}

run=0 left=0 total_start=$SECONDS
while IFS=: read -r file name; do
	if [ "$total" -gt 0 ] && [ $((SECONDS - total_start)) -ge "$total" ]; then
		left=$((left + 1))
		continue
	fi
	package=./$(dirname "$file")
	echo "fuzz: $package $name"
	go test "$package" -run '^$' -fuzz "^$name\$" -fuzztime "$each" -fuzzminimizetime 10x >"$log" 2>&1 ||
		ran_its_time "$log" "$name" || { cat "$log"; exit 1; }
	run=$((run + 1))
done < <(git ls-files -co --exclude-standard '*_test.go' | grep -v /testdata/ |
	xargs grep -HoE '^func Fuzz[A-Za-z0-9_]+' | sed 's/:func /:/' | sort)
[ "$run" -gt 0 ] || { echo "fuzz: found no fuzz function" >&2; exit 1; }
echo "fuzz: $run functions, $each each; $left left out for time"
