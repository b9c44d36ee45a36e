#!/usr/bin/env bash
# weight.sh measures what a Moldau broker weighs and how fast it is up, against the project's bars. About 90 s.
# Needs: nothing else writing to the disk. BROKER_BIN measures that binary. PORT: 19242. PARTITIONS: 10000.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
port=${PORT:-19242} partitions=${PARTITIONS:-10000} missed=0
build_moldau
bench=$work/bench
(cd "$root/test/bench" && go build -o "$bench" .)
ulimit -n "$(ulimit -Hn)"

field() { python3 -c 'import json,sys; d=json.load(open(sys.argv[1]))
for k in sys.argv[2].split("."): d=d[k]
print(d)' "$1" "$2"; }
bar() { # WHAT VALUE LIMIT UNIT
  local verdict=pass
  if awk -v a="$2" -v b="$3" 'BEGIN{exit !(a>b)}'; then verdict=MISSED missed=1; fi
  echo "| $1 | $2 $4 | <= $3 $4 | $verdict |"
}
ready() { # DIR RESULT: starts a broker that stays
  "$bench" ready -brokers "127.0.0.1:$port" -keep -log "$1/moldau.log" -settle "${3:-2s}" -- \
    "$moldau" server --config "$1/server.properties" >"$2"
  pid=$(field "$2" extra.pid); started+=("$pid")
}

echo "| what | measured | bar | verdict |"
echo "| --- | --- | --- | --- |"
for i in 1 2 3 4 5; do
  moldau_properties "$work/empty$i" "$port"
  "$bench" ready -brokers "127.0.0.1:$port" -log "$work/empty$i/moldau.log" -- \
    "$moldau" server --config "$work/empty$i/server.properties" >"$work/ready$i.json"
done
for i in 1 2 3 4 5; do field "$work/ready$i.json" extra.ready_ms; done | sort -n >"$work/ready.txt"
bar "ready on an empty directory (median of 5)" "$(sed -n 3p "$work/ready.txt")" 150 ms
bar "idle RSS" "$(field "$work/ready5.json" extra.rss_mb)" 40 MB

moldau_properties "$work/many" "$port"
ready "$work/many" "$work/many.json" 0s
idle_threads=$(field "$work/many.json" extra.threads) idle_files=$(field "$work/many.json" extra.open_files)
"$bench" partitions -brokers "127.0.0.1:$port" -count "$partitions" -rounds 0 -delete=false >"$work/created.json"
stop_broker "$pid"
ready "$work/many" "$work/reopened.json" 5s
bar "$partitions never written partitions: RSS" "$(field "$work/reopened.json" extra.rss_mb)" 150 MB
bar "  threads more than without" $(($(field "$work/reopened.json" extra.threads) - idle_threads)) 16 ""
bar "  open files more than without" $(($(field "$work/reopened.json" extra.open_files) - idle_files)) 16 ""
bar "  reopened after a clean stop" "$(field "$work/reopened.json" extra.ready_ms)" 2000 ms
stop_broker "$pid"

moldau_properties "$work/written" "$port"
ready "$work/written" "$work/written.json" 0s
"$bench" partitions -brokers "127.0.0.1:$port" -count "$partitions" -rounds 1 -size 100 -delete=false -timeout 10m >"$work/filled.json"
stop_broker "$pid"
ready "$work/written" "$work/rewritten.json" 5s
bar "$partitions idle partitions with a record each: RSS" "$(field "$work/rewritten.json" extra.rss_mb)" 150 MB
bar "  threads more than without" $(($(field "$work/rewritten.json" extra.threads) - idle_threads)) 16 ""
bar "  open files more than without" $(($(field "$work/rewritten.json" extra.open_files) - idle_files)) 16 ""
bar "  reopened after a clean stop" "$(field "$work/rewritten.json" extra.ready_ms)" 2000 ms
stop_broker "$pid"

moldau_properties "$work/spread" "$port"
ready "$work/spread" "$work/spreading.json" 0s
"$bench" spread -brokers "127.0.0.1:$port" -pid "$pid" -topic spread -partitions 1000 -size 1024 -duration "${SPREAD:-30s}" >"$work/spread.json"
say "$(cat "$work/spread.json")"
bar "a record to each of 1,000 partitions at once, acks=all, defaults: p99" "$(awk -v v="$(field "$work/spread.json" latency_us.p99)" 'BEGIN{print v/1000}')" 250 ms
stop_broker "$pid"

moldau_properties "$work/idle" "$port"
ready "$work/idle" "$work/idling.json" 0s
conns=${CONNS:-10000}
"$bench" e2e -brokers "127.0.0.1:$port" -pid "$pid" -topic alone -partitions 6 -rate 1000 -duration 8s >"$work/alone.json"
"$bench" idle -brokers "127.0.0.1:$port" -pid "$pid" -conns "$conns" -hold 14s >"$work/conns.json" &
idle_client=$!
sleep 4 # the connections open in about two
"$bench" e2e -brokers "127.0.0.1:$port" -pid "$pid" -topic beside -partitions 6 -rate 1000 -duration 8s >"$work/beside.json"
wait "$idle_client"
bar "$conns idle connections: RSS" "$(field "$work/conns.json" extra.rss_mb)" 200 MB
say "end to end p50/p99 us alone: $(field "$work/alone.json" latency_us.p50)/$(field "$work/alone.json" latency_us.p99), beside $conns idle connections: $(field "$work/beside.json" latency_us.p50)/$(field "$work/beside.json" latency_us.p99)"
exit "$missed"
