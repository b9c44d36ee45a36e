#!/usr/bin/env bash
# failover.sh kills and halts brokers of a cluster of three and prints how long partitions could not be written to, against the
# project's bars and beside Apache Kafka 4.3.1. About 10 minutes. Results: test/bench/results/. Exit status 1 where a bar is missed.
# KILLS: 50. CONTROLLER_KILLS: 20. STOPS: 10. KAFKA_KILLS: 6, of each kind; 0 leaves Apache Kafka out. PORT: 19292 and up.
# BROKER_BIN measures that binary. With KEEP=1 data and logs stay, and their place is printed.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
port=${PORT:-19292} kafka_kills=${KAFKA_KILLS:-6} out=$root/test/bench/results
mkdir -p "$out" && rm -f "$out"/failover*
build_moldau
bench=$work/bench
(cd "$root/test/bench" && go build -o "$bench" .)

cluster() { # DIR
  mkdir -p "$1"
  for id in 1 2 3; do "$kafka" properties "$1" "$port" 3 "$id" >"$1/node$id.properties"; done
}
failover() { # DIR KILLS CONTROLLER_KILLS STOPS COMMAND...
  local dir=$1 kills=$2 controller_kills=$3 stops=$4
  shift 4
  "$bench" failover -brokers "127.0.0.1:$port,127.0.0.1:$((port + 1)),127.0.0.1:$((port + 2))" -topic failover \
    -kills "$kills" -controller-kills "$controller_kills" -stops "$stops" -output "$dir/node{}.log" -- "$@" "$dir/node{}.properties"
}

cluster "$work/moldau"
failover "$work/moldau" "${KILLS:-50}" "${CONTROLLER_KILLS:-20}" "${STOPS:-10}" "$moldau" server --config >"$out/failover.json"
theirs=()
if [ "$kafka_kills" != 0 ]; then
  cluster "$work/kafka"
  for id in 1 2 3; do "$kafka" kafka-storage format -t 4L6g3nShT-eMCtK--X86sw -c "$work/kafka/node$id.properties" >/dev/null; done
  export KAFKA_HEAP=${KAFKA_HEAP:-1G}
  failover "$work/kafka" "$kafka_kills" "$kafka_kills" "$kafka_kills" "$kafka" java kafka.Kafka >"$out/failover-kafka.json"
  theirs=("$out/failover-kafka.json")
fi
status=0
"$bench" stalls "$out/failover.json" "${theirs[@]}" >"$out/failover.md" || status=1
cat "$out/failover.md"
exit "$status"
