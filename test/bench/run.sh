#!/usr/bin/env bash
# run.sh [ROUNDS] measures Moldau against Apache Kafka 4.3.1 in turn and prints ratios and the project's bars.
# Moldau runs twice: with log.ack.durability=os (what Kafka does) and with its defaults. Results: test/bench/results/.
# Exit status 1 where a bar of the durability=os run is missed. ROUNDS: 3. SECONDS_PER_RUN: 8. PORT: 19292 and up.
# BROKER_BIN measures that binary; BENCH_SELF=1 puts a second Apache Kafka in Moldau's place, to try the script.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
rounds=${1:-3} port=${PORT:-19292} out=$root/test/bench/results
# A turn writes some 4.5 GB for each second of a load, of which half is not freed yet when the next begins, and matrix.sh stops
# below 20 GB: better now than in the middle.
need=$((20 + ${SECONDS_PER_RUN:-8} * 7)) free=$(df --output=avail -BG "$work" | tail -1 | tr -dc 0-9)
[ "$free" -ge "$need" ] || die "$work has $free GB free and $need are needed; free some, or set TMPDIR, or SECONDS_PER_RUN to less than ${SECONDS_PER_RUN:-8}"
mkdir -p "$out" && rm -f "$out"/*.jsonl
[ -n "${BENCH_SELF:-}" ] || build_moldau
bench=$work/bench
(cd "$root/test/bench" && go build -o "$bench" .)

start_ours() { # DIR PORT CONF
  if [ -n "${BENCH_SELF:-}" ]; then start_kafka "$1" "$2"; else BROKER_CONF=$3 start_moldau "$1" "$2"; fi
}

"$bench" limits -only disk -reps 3 -dir "$work" >"$out/limits.jsonl"
KAFKA_CONF='' start_kafka "$work/kafka" "$port"; kafka_pid=$broker_pid
start_ours "$work/os" $((port + 100)) log.ack.durability=os; os_pid=$broker_pid
start_ours "$work/defaults" $((port + 200)) ''; defaults_pid=$broker_pid

export NO_GROUPS='' DISK=$work
"$bench" serves -brokers "127.0.0.1:$((port + 100))" -key 11 2>/dev/null || NO_GROUPS=1
for round in $(seq "$rounds"); do
  say "round $round of $rounds"
  "$bench" limits -only net -reps 3 -mib 256 -dir "$work" >>"$out/limits.jsonl" # beside idle brokers
  "$root/test/bench/matrix.sh" "$bench" "127.0.0.1:$port" "$kafka_pid" 1 >>"$out/kafka.jsonl"
  "$root/test/bench/matrix.sh" "$bench" "127.0.0.1:$((port + 100))" "$os_pid" 1 >>"$out/os.jsonl"
  "$root/test/bench/matrix.sh" "$bench" "127.0.0.1:$((port + 200))" "$defaults_pid" 1 >>"$out/defaults.jsonl"
done

report() {
  local status=0 mode
  echo "commit $(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown), $rounds rounds, $(nproc) cores"
  for mode in os defaults; do
    printf '\n## Moldau, log.ack.durability: %s\n\n' "$mode"
    "$bench" bars -limits "$out/limits.jsonl" "$out/$mode.jsonl" "$out/kafka.jsonl" || [ "$mode" = defaults ] || status=1
    printf '\n'
    "$bench" ratio "$out/$mode.jsonl" "$out/kafka.jsonl"
  done
  return "$status"
}
status=0
report >"$out/report.md" || status=1
cat "$out/report.md"
exit "$status"
