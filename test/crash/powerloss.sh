#!/usr/bin/env bash
# powerloss.sh cuts the power of a whole broker in memory: 200 workloads, each cut at every sync and rename and at 50 writes (package
# sim). Then it leaves out each sync in turn, by its call in the code and by the kind of file, which some workload must notice. About 40 min on two cores.
#   FIRST=1 SEEDS=200   which workloads
#   OMIT_SEEDS=20       how many of them may look for a sync that is left out; 0 skips that part
#   JOBS=2              how many processes at a time
#   RESULTS=DIR         one line for each workload and sync; what has a line there is not run again, so an interrupted run goes on
# Result lines go to standard output in the end. Status 1 where a promise was broken or a sync is not needed.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
results=${RESULTS:-$root/bin/powerloss}
first=${FIRST:-1} seeds=${SEEDS:-200} omit_seeds=${OMIT_SEEDS:-20} jobs=${JOBS:-2}
mkdir -p "$results"
binary=$results/sim.test
(cd "$root" && go test -c -o "$binary" ./sim)
cd "$root/sim"

# once FILE NAME COMMAND... writes the line of one run. A process that dies counts as a failure that names its last words.
once() {
  local file=$1 name=$2
  shift 2
  [ -s "$file" ] && return
  if "$@" >"$file.out" 2>&1; then status=ok; else status=FAILED; fi
  { printf '%s %s ' "$status" "$name"; grep -E 'seed [0-9]+:|notice|^panic:|^fatal' "$file.out" | head -1 | sed 's/^ *[a-z_]*\.go:[0-9]*: //' | cut -c1-600 || true; echo; } | head -1 >"$file.new"
  mv "$file.new" "$file"
  rm "$file.out"
}
seed() { once "$results/seed.$1" "workload $1" env GOGC=400 FIRST="$1" SEEDS=1 "$binary" -test.run '^TestPowerLoss$' -test.v -test.timeout 10m; }
# A process for each seed: one that is kept for many needs the memory of all their disks.
first_notice() { # SYNC
  local n
  for n in $(seq "$first" $((first + omit_seeds - 1))); do
    if GOGC=400 OMIT="$1" FIRST=$n SEEDS=1 "$binary" -test.run '^TestEverySyncIsNeeded$' -test.v -test.timeout 10m >"$file.seed" 2>&1; then
      grep noticed "$file.seed" && rm "$file.seed" && return
    elif ! grep -q 'noticed by none' "$file.seed"; then
      cat "$file.seed" # it died
      return 1
    fi
  done
  rm -f "$file.seed"
  by_the_log_alone "$1" || { echo "noticed by none: $1"; return 1; }
}
# What takes a rarer accident than a workload has in it, package log brings about.
by_the_log_alone() { # SYNC
  local name
  case $1 in
  'Sync of PARTITION/*.'*) name="^TestEveryKindOfSyncIsNeeded\$/^${1#*/\*.}\$" ;;
  'Sync of FUTURE/*.'*) name="^TestEveryKindOfSyncIsNeeded\$/^${1#*/\*.}-future\$" ;;
  log/*writeCheckpoint:SyncDir) name='^TestRecoveryPointHasItsIndexesNamed$' ;;
  log/compact*) name="^TestEverySyncOfACompactionIsNeeded$/^$(sed 's/^[^:]*:\([0-9]*\):\(.*\):[A-Za-z]*$/\2:\1/; s/[][().*\]/\\&/g' <<<"$1")\$" ;;
  log/*) name="^TestEverySyncIsNeeded$/$(sed 's/:\([A-Za-z]*\)$/_\1/; s/:log/_log/; s/[][().*\]/\\&/g' <<<"$1")\$" ;;
  *) return 1 ;;
  esac
  (cd "$root" && go test -count=1 -v -run "$name" ./internal/log) | grep -q '^ *--- PASS' && echo "noticed by package log: $1"
}
omit() {
  export file=$results/omit.$(printf %s "$1" | tr -c 'A-Za-z0-9\n' _)
  once "$file" "without" first_notice "$1"
}
export -f once seed omit first_notice by_the_log_alone
export root results binary first omit_seeds

seq "$first" $((first + seeds - 1)) | xargs -P "$jobs" -I{} bash -c 'seed {}'
if [ "$omit_seeds" -gt 0 ]; then
  OMIT=list FIRST=$first SEEDS=30 "$binary" -test.run '^TestEverySyncIsNeeded$' | sed -n 's/^sync: //p' >"$results/syncs"
  tr '\n' '\0' <"$results/syncs" | xargs -0 -P "$jobs" -I{} bash -c 'omit "$1"' _ {}
fi
sort -V "$results"/seed.* 
cat "$results"/omit.* 2>/dev/null || true
ok=$(cat "$results"/seed.* | grep -c '^ok' || true)
noticed=$(cat "$results"/omit.* 2>/dev/null | grep -c '^ok' || true)
missed=$(cat "$results"/omit.* 2>/dev/null | grep -c '^FAILED' || true)
echo "power loss: $ok of $(ls "$results"/seed.* | wc -l) workloads keep what was promised; $noticed syncs needed, $missed not"
! grep -q '^FAILED' "$results"/seed.* && [ "$missed" = 0 ]
