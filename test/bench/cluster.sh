#!/usr/bin/env bash
# cluster.sh [ROUNDS] measures three Moldau brokers against three of Apache Kafka 4.3.1 in turn, every partition replicated on all
# of them, and prints ratios and the project's bars. Moldau and Apache Kafka run with their defaults. Results: test/bench/results/.
# Exit status 1 where a bar is missed. ROUNDS: 3. SECONDS_PER_RUN: 4. PORT: 19292 and up. BROKER_BIN measures that binary.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
rounds=${1:-3} port=${PORT:-19292} seconds=${SECONDS_PER_RUN:-4} out=$root/test/bench/results
need=$((20 + seconds * 6)) free=$(df --output=avail -BG "$work" | tail -1 | tr -dc 0-9)
[ "$free" -ge "$need" ] || die "$work has $free GB free and $need are needed; free some, or set TMPDIR, or SECONDS_PER_RUN to less than $seconds"
mkdir -p "$out" && rm -f "$out"/cluster-*
build_moldau
bench=$work/bench
(cd "$root/test/bench" && go build -o "$bench" .)

addresses() { printf '127.0.0.1:%s,127.0.0.1:%s,127.0.0.1:%s' "$1" $(($1 + 1)) $(($1 + 2)); }
start_kafka_cluster "$work/kafka" "$port"; kafka_pids=$broker_pids
start_moldau_cluster "$work/moldau" $((port + 100)); moldau_pids=$broker_pids

loads() { # PORT PIDS TOPIC
  run() { timeout 180 "$bench" "$@" -brokers "$(addresses "$port_")" -pid "$pids_" -rf 3; }
  local port_=$1 pids_=$2 t=$3
  run produce -topic "$t-1k" -partitions 6 -size 1024 -duration "${seconds}s"
  run reqs -api produce -topic "$t-raw64" -partitions 6 -conns 2 -depth 8 -records 64 -duration "${seconds}s"
  run reqs -api produce -topic "$t-one" -partitions 6 -conns 1 -depth 1 -records 1 -duration "${seconds}s"
  run e2e -topic "$t-e2e" -partitions 6 -rate 1000 -duration 12s
  run delete -topic "$t-"
}
for round in $(seq "$rounds"); do
  say "round $round of $rounds"
  loads "$port" "$kafka_pids" "r$round" >>"$out/cluster-kafka.jsonl"
  loads $((port + 100)) "$moldau_pids" "r$round" >>"$out/cluster-moldau.jsonl"
done

status=0
{
  echo "commit $(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown), $rounds rounds of ${seconds} s a load, three brokers each, $(nproc) cores"
  printf '\n'
  "$bench" bars -cluster "$out/cluster-moldau.jsonl" "$out/cluster-kafka.jsonl" || status=1
  printf '\n'
  "$bench" ratio "$out/cluster-moldau.jsonl" "$out/cluster-kafka.jsonl"
} >"$out/cluster-report.md"
cat "$out/cluster-report.md"
exit "$status"
