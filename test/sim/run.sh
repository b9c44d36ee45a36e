#!/usr/bin/env bash
# run.sh lets the worlds of sim/cluster and sim/replication pass: members of the metadata quorum, then brokers that replicate partitions, with everything
# that can go wrong between and below them, judged after every event. 200 seeds take about 40 s and 15 s on two cores.
#   SEED=1 N=200    which seeds; SEED alone: that one
#   STEPS=5000      how many steps with faults a world of replication has before it heals; a step is one event: something arrives, is due or goes wrong
#   JOBS=2          how many processes at a time
#   WORLDS="cluster replication"   which
#   RESULTS=DIR     one line for each slice of 25 seeds; what has a line there, of the same STEPS and the same last commit to the code, is not run again, so an
#                   interrupted run goes on. Without it, or with code that is not committed, nothing is kept.
# A seed that fails is printed with its last events, and fails again: SEED=... shows it. Status 1 where there is one.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
first=${SEED:-1} jobs=${JOBS:-2} worlds=${WORLDS:-cluster replication}
n=${N:-$([ -n "${SEED:-}" ] && echo 1 || echo 200)}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export STEPS=${STEPS:-5000}
code=("$root/go.mod" "$root/internal" "$root/sim")
commit=$(git -C "$root" log -1 --format=%h --abbrev=10 -- "${code[@]}")
[ -z "$(git -C "$root" status --porcelain -- "${code[@]}")" ] || RESULTS=""
results=${RESULTS:-$scratch/results}
mkdir -p "$results"

# Adds up "3 apples, 4 pears" of all lines, behind whatever ends with ": " or "nodes, ".
cat >"$scratch/sum.awk" <<'AWK'
{ sub(/.*(: |nodes, )/, ""); for (i = split($0, parts, ", "); i > 0; i--) { name = parts[i]; sub(/^[0-9]+ /, "", name); sum[name] += parts[i] + 0; at[name] = i; last = i > last ? i : last } }
END { for (i = 1; i <= last; i++) for (name in at) if (at[name] == i) printf("%s%d %s", (i > 1 ? ", " : ""), sum[name], name); print "" }
AWK

slice() { # WORLD FIRST COUNT
  local file=$results/$1.$2.$3.$STEPS.$commit
  [ -s "$file" ] && return
  if FIRST=$2 SEEDS=$3 "$scratch/$1.test" -test.run '^TestSeeds$' -test.v -test.timeout 60m >"$file.out" 2>&1; then
    echo "ok $commit seeds $2 to $(($2 + $3 - 1)): $(grep ' nodes, ' "$file.out" | awk -f "$scratch/sum.awk")" >"$file"
  else
    cat "$file.out"
    echo "FAILED $commit $1, seeds $2 to $(($2 + $3 - 1)): $(grep -oE 'seed [0-9]+: .*' "$file.out" | grep -v ' nodes, ' | head -1 | cut -c1-300)" >"$file"
  fi
  rm "$file.out"
}
export -f slice
export results scratch commit

end=$((first + n))
status=0
for world in $worlds; do
  (cd "$root" && go test -c -o "$scratch/$world.test" "./sim/$world")
  for ((at = first; at < end; at += 25)); do
    echo "$world $at $((end - at < 25 ? end - at : 25))"
  done | xargs -P "$jobs" -L1 bash -c 'slice $0 $1 $2'
  lines=$(for ((at = first; at < end; at += 25)); do cat "$results/$world.$at.$((end - at < 25 ? end - at : 25)).$STEPS.$commit"; done)
  grep '^FAILED' <<<"$lines" && status=1
  echo "sim/$world: $n seeds: $(grep '^ok' <<<"$lines" | awk -f "$scratch/sum.awk"); $(grep -c '^FAILED' <<<"$lines") slices failed"
done
exit "$status"
