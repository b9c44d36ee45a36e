#!/usr/bin/env bash
# connect.sh has Apache Kafka's Connect worker (4.3.1, distributed) copy a growing file through a topic into another file.
# The worker is stopped and started again: the files are equal. The broker is killed; a second worker joins and the first is
# killed: Connect is at least once then, so a line may come twice, but none is missing and first comes are in the file's order.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/common.sh"
rest=$((port + 2)) # and the port above it

launch_worker() { # NUMBER
  cat >"$work/worker$1.properties" <<P
bootstrap.servers=$bootstrap
group.id=connect-frameworks
listeners=http://127.0.0.1:$((rest + $1 - 1))
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
config.storage.topic=connect-configs
offset.storage.topic=connect-offsets
status.storage.topic=connect-status
config.storage.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
offset.flush.interval.ms=1000
scheduled.rebalance.max.delay.ms=0
plugin.path=$work/plugins
plugin.discovery=service_load
P
  launch "worker$1" env KAFKA_LOG=WARN "$kafka" connect-distributed "$work/worker$1.properties"
  await "worker $1" curl -sf -o /dev/null "http://127.0.0.1:$((rest + $1 - 1))/connectors"
}

connector() { # NAME JSON: made by the first worker
  curl -sSf -X PUT -H 'Content-Type: application/json' -d "$2" "http://127.0.0.1:$rest/connectors/$1/config" >"$work/connector" ||
    fail "the worker refuses connector $1"
}

grow() { part "$work/lines" "$1" "$2" >>"$work/source"; } # FROM TO
came() { [ -f "$work/sink" ] && [ "$(wc -l <"$work/sink")" -ge $((records * $1 / 100)) ]; } # HUNDREDTHS
firsts() { awk '!seen[$0]++' "$work/sink" >"$work/firsts"; }
all_came() { [ -f "$work/sink" ] && firsts && equal "$work/source" "$work/firsts"; }

command -v curl >/dev/null || install curl
events "$records" | tr '\t' ' ' >"$work/lines"
mkdir "$work/plugins"
start_broker
launch_worker 1
grow 0 20
connector source '{"connector.class":"FileStreamSource","tasks.max":"1","file":"'"$work/source"'","topic":"lines",
  "topic.creation.default.partitions":"1","topic.creation.default.replication.factor":"1"}'
connector sink '{"connector.class":"FileStreamSink","tasks.max":"1","file":"'"$work/sink"'","topics":"lines"}'
await "line in the sink" came 1
grow 20 40
stop "$pid"
grow 40 60
launch_worker 1
await "60 % of the lines" came 60
equal "$work/source" "$work/sink" || fail "after the worker's restart the files differ"

first=$pid
crash_broker
grow 60 80
await "80 % of the lines after the broker's restart" all_came

launch_worker 2
grow 80 90
await "line written with two workers" came 81
kill_hard "$first"
grow 90 100
await "end of the lines in the second worker" all_came
stop "$pid"
echo "   Connect 4.3.1: $records lines through a topic; after the worker's restart the files were equal, after the kills of the broker" \
  "and of a worker no line was missing, $(($(wc -l <"$work/sink") - records)) came twice"
