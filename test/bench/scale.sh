#!/usr/bin/env bash
# scale.sh judges three Moldau brokers with many partitions against the project's bars: 100 topics of 100 partitions made, a broker
# lost and back, the CPU of the idle ones; then 64 KiB batches into 10 and 10,000 partitions, and into 1 and 12, three rounds each.
# Results: test/bench/results/. Exit status 1 where a bar is missed. TOPICS: 100. ROUNDS: 3. SECONDS_PER_RUN: 4. PORT: 19292 and up.
# BROKER_BIN measures that binary. With KEEP=1 data and logs stay, and their place is printed.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
port=${PORT:-19292} topics=${TOPICS:-100} seconds=${SECONDS_PER_RUN:-4} out=$root/test/bench/results
mkdir -p "$out" && rm -f "$out"/scale*
build_moldau
bench=$work/bench
(cd "$root/test/bench" && go build -o "$bench" .)
addresses() { printf '127.0.0.1:%s,127.0.0.1:%s,127.0.0.1:%s' "$1" $(($1 + 1)) $(($1 + 2)); }

mkdir -p "$work/scale"
for id in 1 2 3; do "$kafka" properties "$work/scale" "$port" 3 "$id" >"$work/scale/node$id.properties"; done
"$bench" scale -brokers "$(addresses "$port")" -topics "$topics" -output "$work/scale/node{}.log" \
  -- "$moldau" server --config "$work/scale/node{}.properties" | tee "$out/scale.json"

port=$((port + 100))
start_moldau_cluster "$work/raw" "$port"
raw() { # PARTITIONS ARGS
  local partitions=$1; shift
  timeout 300 "$bench" reqs -api produce -topic "raw$partitions" -partitions "$partitions" -rf 3 -brokers "$(addresses "$port")" \
    -pid "$broker_pids" -depth 8 -records 64 "$@"
}
for partitions in 1 10 12 $((topics * 100)); do raw "$partitions" -conns 1 -requests 1 >/dev/null; done
for _ in $(seq "${ROUNDS:-3}"); do
  raw 1 -conns 1 -duration "${seconds}s"
  raw 12 -conns 3 -rotate -duration "${seconds}s"
  raw 10 -conns 3 -rotate -duration "${seconds}s"
  raw $((topics * 100)) -conns 3 -rotate -duration "${seconds}s"
done >"$out/scale-raw.jsonl"
status=0
"$bench" scales "$out/scale.json" "$out/scale-raw.jsonl" >"$out/scale.md" || status=1
cat "$out/scale.md"
exit "$status"
