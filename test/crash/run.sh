#!/usr/bin/env bash
# run.sh kills a broker with SIGKILL 100 times, a second apart, while producers write, groups consume and commit, a topic is compacted and
# others are deleted, and judges the recorded history: about 4 min.
#   KILLS=100 EVERY=1s    how often, and how long after the broker's first answer
#   BROKER=moldau|kafka   what to kill; Apache Kafka takes seconds to start: BROKER=kafka KILLS=8 EVERY=2s
#   DURABILITY=os         log.ack.durability of the broker, else its default
# PORT: 19592. Where a promise was broken, the history and the data stay, and their place is printed.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
port=${PORT:-19592}
# The cleaner looks for work often enough to be killed at it.
conf=$'log.cleaner.backoff.ms=100\ngroup.initial.rebalance.delay.ms=0'"${DURABILITY:+$'\n'log.ack.durability=$DURABILITY}"
(cd "$root" && go build -o "$work/crash" ./test/crash)
if [ "${BROKER:-moldau}" = kafka ]; then
  # Formatted by a first start; then the program starts and kills it.
  KAFKA_CONF="$conf" start_kafka "$work/broker" "$port"
  stop_broker "$broker_pid"
  command=("$kafka" java kafka.Kafka "$work/broker/node1.properties")
  export KAFKA_HEAP=512M
else
  build_moldau
  BROKER_CONF=$conf moldau_properties "$work/broker" "$port"
  command=("$moldau" server --config "$work/broker/server.properties")
fi
status=0
"$work/crash" -port "$port" -kills "${KILLS:-100}" -every "${EVERY:-1s}" -history "$work/history.txt" -log "$work/broker.log" -- "${command[@]}" || status=$?
if [ "$status" != 0 ]; then
  tail -20 "$work/broker.log" >&2
  KEEP=1
fi
exit "$status"
