#!/usr/bin/env bash
# run.sh measures groups of many members, many groups, and the load of many committed offsets. About 60 s. PORT: 19792.
#   BROKER=kafka   Apache Kafka instead; nothing is judged then
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
port=${PORT:-19792}
(cd "$root/test/groups" && go build -o "$work/groups" .)
export BROKER_CONF=group.initial.rebalance.delay.ms=0 KAFKA_CONF=group.initial.rebalance.delay.ms=0
judge=1
if [ "${BROKER:-moldau}" = kafka ]; then start_kafka "$work/broker" "$port"; judge=0; else build_moldau; start_moldau "$work/broker" "$port"; fi

ask() { # MODE N LIMIT CPU
  local limits=()
  [ "$judge" = 0 ] || limits=(-limit "$3" -cpu "$4")
  "$work/groups" "$1" -bootstrap "127.0.0.1:$port" -pid "$broker_pid" -n "$2" "${limits[@]}"
}
ask classic 1000 5s 2s
ask consumer 1000 15s 2s
ask many 10000 0s 0s
ask commit 100000 0s 0s
[ "$judge" = 1 ] || exit 0
stop_broker "$broker_pid"
: >"$work/broker/moldau.log"
start_moldau "$work/broker" "$port"
ask fetch 100000 1s 0s
line=$(grep 'loaded a partition' "$work/broker/moldau.log" | grep 'partition=__consumer_offsets-7 ')
echo "the load itself: $(grep -o 'records=.*' <<<"$line")"
