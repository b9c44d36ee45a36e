#!/usr/bin/env bash
# run.sh has three nodes lose each other under load, and judges what clients were promised and what the replicas hold: about 3 min.
#   SEED=1             which nodes fail and when
#   SECONDS=120        how long faults happen, all scenarios together
#   SCENARIOS="a,b"    some scenarios, by their names
# PORT: 19392 and up. Where something fails, the history, the data and the logs stay, and their place is printed.
seconds=$(printenv SECONDS || echo 120) # which bash would count up
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
port=${PORT:-19392}
build_moldau
(cd "$root" && go build -o "$work/run" ./test/fault)
conf=$'offsets.topic.num.partitions=4\ngroup.initial.rebalance.delay.ms=0'"${BROKER_CONF:+$'\n'$BROKER_CONF}"
for id in 1 2 3; do
  KAFKA_CONF=$conf "$kafka" properties "$work" "$port" 3 "$id" >"$work/node$id.properties"
done
status=0
"$work/run" -moldau "$moldau" -dir "$work" -port "$port" -seed "${SEED:-1}" -seconds "$seconds" -scenarios "${SCENARIOS:-}" || status=$?
[ "$status" = 0 ] || KEEP=1
exit "$status"
