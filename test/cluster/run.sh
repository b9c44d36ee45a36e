#!/usr/bin/env bash
# run.sh has three nodes form a cluster, lose members and get them back, and refuse who does not belong to it: about 2 min.
# PORT: 19292 and up. Where something fails, data and logs stay, and their place is printed.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
port=${PORT:-19292}
build_moldau
(cd "$root" && go build -o "$work/run" ./test/cluster)
for cluster in cluster other; do
  mkdir -p "$work/$cluster"
  first=$port
  [ "$cluster" = other ] && first=$((port + 10))
  for id in 1 2 3; do
    KAFKA_CONF="${BROKER_CONF:-}" "$kafka" properties "$work/$cluster" "$first" 3 "$id" >"$work/$cluster/node$id.properties"
  done
done
status=0
"$work/run" -moldau "$moldau" -dir "$work" -port "$port" || status=$?
[ "$status" = 0 ] || KEEP=1
exit "$status"
