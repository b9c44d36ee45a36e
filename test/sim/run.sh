#!/usr/bin/env bash
# run.sh lets the worlds of sim/cluster and sim/replication pass: members of the metadata quorum, then brokers that replicate partitions, with everything
# that can go wrong between and below them, judged after every event. 200 seeds take about 40 s and 15 s on two cores.
# WORLDS=whole is clusters of whole brokers with real clients, in virtual time, judged at the end (docs/acceptance/whole.md).
#   SEED=1 N=200    which seeds; SEED alone: that one
#   STEPS=5000      how many steps with faults a world of replication has before it heals; a step is one event: something arrives, is due or goes wrong
#   HOURS=50        of virtual time, in place of N, of whole: a seed takes MINUTES=10 of it, and some seconds of a core
#   JOBS=2          how many processes at a time
#   WORLDS="cluster replication"   which
#   RESULTS=DIR     one line for each slice of 25 seeds (5 of whole); what has a line there, of the same STEPS or MINUTES and the same last commit to the
#                   code, is not run again, so an interrupted run goes on. Without it, or with code that is not committed, nothing is kept.
# A seed that fails is printed with its last events: SEED=... shows it. It fails again, but one of whole may have to be run some times.
# Status 1 where there is one.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
first=${SEED:-1} jobs=${JOBS:-2} worlds=${WORLDS:-cluster replication}
export MINUTES=${MINUTES:-10}
n=${N:-$([ -n "${SEED:-}" ] && echo 1 || { [ -n "${HOURS:-}" ] && echo $((HOURS * 60 / MINUTES)) || echo 200; })}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export STEPS=${STEPS:-5000}
code=("$root/go.mod" "$root/internal" "$root/sim" "$root/test/history")
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
  local file=$results/$1.$2.$3.$length.$commit
  [ -s "$file" ] && return
  if FIRST=$2 SEEDS=$3 "$scratch/$1.test" -test.run '^TestSeeds$' -test.v -test.timeout "$limit" >"$file.out" 2>&1; then
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
  tags=() size=25 limit=60m length=$STEPS
  [ "$world" = whole ] && tags=(-tags synctests,invariants) size=5 limit=20m length=${MINUTES}m
  export limit length
  (cd "$root" && go test -c "${tags[@]}" -o "$scratch/$world.test" "./sim/$world")
  for ((at = first; at < end; at += size)); do
    echo "$world $at $((end - at < size ? end - at : size))"
  done >"$scratch/slices"
  xargs -P "$jobs" -L1 bash -c 'slice $0 $1 $2' <"$scratch/slices"
  lines=$(while read -r _ at count; do cat "$results/$world.$at.$count.$length.$commit"; done <"$scratch/slices")
  grep '^FAILED' <<<"$lines" && status=1
  echo "sim/$world: $n seeds: $(grep '^ok' <<<"$lines" | awk -f "$scratch/sum.awk"); $(grep -c '^FAILED' <<<"$lines") slices failed"
done
exit "$status"
