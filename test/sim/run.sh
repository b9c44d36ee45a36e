#!/usr/bin/env bash
# run.sh lets the worlds of package sim/cluster pass: members of the metadata quorum with everything that can go wrong between and
# below them, judged after every event. 200 seeds take about 40 s on two cores.
#   SEED=1 N=200    which seeds; SEED alone: that one
#   JOBS=2          how many processes at a time
#   RESULTS=DIR     one line for each slice of 25 seeds; what has a line there is not run again, so an interrupted run goes on.
#                   Without it nothing is kept.
# A seed that fails is printed with its last events, and fails again: SEED=... shows it. Status 1 where there is one.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
first=${SEED:-1} jobs=${JOBS:-2}
n=${N:-$([ -n "${SEED:-}" ] && echo 1 || echo 200)}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
results=${RESULTS:-$scratch/results}
mkdir -p "$results"
binary=$scratch/cluster.test
(cd "$root" && go test -c -o "$binary" ./sim/cluster)

slice() { # FIRST COUNT
  local file=$results/seeds.$1.$2
  [ -s "$file" ] && return
  if FIRST=$1 SEEDS=$2 "$binary" -test.run '^TestSeeds$' -test.v -test.timeout 60m >"$file.out" 2>&1; then
    awk -v first="$1" -v count="$2" '/nodes,/ { for (i = 1; i < NF; i++) { if ($(i+1) ~ /^entries/) e += $i; if ($(i+1) ~ /^epochs/) t += $i; if ($(i+1) ~ /^changes/) c += $i; if ($(i+1) ~ /^starts/) s += $i; if ($(i+1) ~ /^reads/) r += $i } }
      END { printf "ok seeds %d to %d: %d entries %d epochs %d changes %d starts %d reads\n", first, first + count - 1, e, t, c, s, r }' "$file.out" >"$file"
  else
    cat "$file.out"
    echo "FAILED seeds $1 to $(($1 + $2 - 1)): $(grep -oE 'seed [0-9]+: .*' "$file.out" | grep -v ' nodes, ' | head -1 | cut -c1-300)" >"$file"
  fi
  rm "$file.out"
}
export -f slice
export results binary

end=$((first + n))
for ((at = first; at < end; at += 25)); do
  echo "$at $((end - at < 25 ? end - at : 25))"
done | xargs -P "$jobs" -L1 bash -c 'slice $0 $1'

lines=$(for ((at = first; at < end; at += 25)); do cat "$results/seeds.$at.$((end - at < 25 ? end - at : 25))"; done)
grep '^FAILED' <<<"$lines" || true
awk -v n="$n" '/^ok/ { e += $6; t += $8; c += $10; s += $12; r += $14 } /^FAILED/ { f++ }
  END { printf "sim: %d seeds: %d entries decided, %d epochs, %d changes of voters, %d starts, %d reads; %d slices failed\n", n, e, t, c, s, r, f }' <<<"$lines"
! grep -q '^FAILED' <<<"$lines"
