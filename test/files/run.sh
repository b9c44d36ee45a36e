#!/usr/bin/env bash
# run.sh has Apache Kafka's kafka-dump-log read the files that Moldau wrote, after a clean stop and after a kill -9, and
# has Moldau adopt and serve partitions that Apache Kafka wrote. About 3 min. PORT: 19692 and up.
#   DUMP_ONLY=DIR   only dump the partitions in DIR (a log directory of any broker) and look for complaints
#   BROKER=kafka    Apache Kafka's own files, to try the script; it adopts nothing then
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
port=${PORT:-19692} records=${RECORDS:-20000}

# complaints prints what kafka-dump-log says that it says of no sound file. Of every segment but the first a deep
# iteration says "-1 is followed by N": that is no gap.
complaints() {
  grep -aE 'isvalid: false|Mismatches in|mismatch|Found out of order|Index timestamp of|No entry|Exception|rror:|orrupt|is followed by|do not match' "$work/dump" |
    grep -avE '^ *-1 is followed by [0-9]+$|Non-consecutive offsets in' >>"$work/complaints" || true
}

dump_files() { # FILES... -- OPTIONS: one run of the tool; what it says goes to $work/dump
  local files=''
  while [ "$1" != -- ]; do files+="${files:+,}$1"; shift; done
  shift
  "$kafka" kafka-dump-log --files "$files" "$@" >"$work/dump" 2>&1 || { echo "kafka-dump-log failed: $(tail -1 "$work/dump")" >>"$work/complaints"; }
  complaints
}

dump() { # LOGDIR: every file of every partition of the suite's topics
  local file logs indexes snapshots
  logs=("$1"/files-*/*.log) indexes=("$1"/files-*/*.index "$1"/files-*/*.timeindex) snapshots=("$1"/files-*/*.snapshot)
  : >"$work/complaints"
  dump_files "${logs[@]}" -- --deep-iteration
  dumped=$(grep -acE '^\| offset: ' "$work/dump" || true)
  dump_files "${indexes[@]}" -- --index-sanity-check
  for file in "${indexes[@]}"; do grep -aqFe "$file passed sanity check." -e "$file is empty." "$work/dump" || echo "no sanity check of $file" >>"$work/complaints"; done
  dump_files "${indexes[@]}" -- --verify-index-only
  dump_files "${snapshots[@]}" --
  snapshots_read=$(grep -acE 'producerId: [0-9]' "$work/dump" || true)
  partitions=$(ls -d "$1"/files-* | wc -l) segments=${#logs[@]}
  [ ! -s "$work/complaints" ] || { head -20 "$work/complaints" >&2; return 1; }
}

check() { # WHAT LOGDIR RECORDS
  dump "$2" || die "$1: kafka-dump-log complains"
  echo "$1: $partitions partitions, $segments segments, $dumped records, $snapshots_read producers in snapshots: no complaint"
  [ "$dumped" -ge "$3" ] || die "$1: $dumped records in the dump, $3 were written"
  [ "$snapshots_read" -gt 0 ] || die "$1: no snapshot names a producer"
}

# check_offsets has the tool decode what a group of each protocol has left in __consumer_offsets: its generations, epochs and members, and what it committed.
check_offsets() { # LOGDIR
  local logs groups commits
  : >"$work/complaints"
  mapfile -t logs < <(find "$1" -path '*/__consumer_offsets-*/*.log' -size +0)
  [ ${#logs[@]} -gt 0 ] || die "no partition of __consumer_offsets has a record"
  dump_files "${logs[@]}" -- --offsets-decoder
  [ ! -s "$work/complaints" ] || { head -20 "$work/complaints" >&2; die "__consumer_offsets: kafka-dump-log complains"; }
  groups=$(grep -acE 'key: .*"type":"2".*"group":"files-group".*payload: .*"protocol":"range"' "$work/dump" || true)
  commits=$(grep -acE 'key: .*"type":"1".*"group":"files-group","topic":"files-none".*payload: .*"offset":[0-9]' "$work/dump" || true)
  [ "$groups" -gt 0 ] && [ "$commits" -gt 0 ] || { grep -a files-group "$work/dump" | head -5 >&2; die "$groups generations and $commits commits of the group in the dump"; }
  echo "__consumer_offsets: $groups generations and $commits commits decoded"
  local type name
  for type in 3:epoch 5:subscribedTopicNames 6:assignmentTimestamp 7:topicPartitions 8:assignmentEpochs; do
    name=${type#*:} type=${type%%:*}
    grep -aqE "key: .*\"type\":\"$type\".*\"groupId\":\"files-consumer\".*payload: .*\"$name\":" "$work/dump" ||
      { grep -a files-consumer "$work/dump" | head -5 >&2; die "no record of type $type of the consumer group in the dump"; }
  done
  echo "__consumer_offsets: records of types 3 and 5 to 8 of a group of the consumer protocol decoded"
}

if [ -n "${DUMP_ONLY:-}" ]; then check "$DUMP_ONLY" "$DUMP_ONLY" 0; exit; fi

(cd "$root" && go build -o "$work/judge" ./test/conformance/judge)
(cd "$root/test/conformance/go" && go build -o "$work/kgo" ./kgo)
(cd "$root/test/bench" && go build -o "$work/bench" .)

fill() { # PORT ROUND: small segments, every codec, idempotent producers, with and without compression
  local codec
  for codec in none gzip snappy lz4 zstd; do
    "$work/bench" produce -brokers "127.0.0.1:$1" -topic "files-$codec" -partitions 2 -config segment.bytes=1048576,index.interval.bytes=1024 \
      -size 500 -batch 16384 -random 0.7 -compression "$codec" -idempotent -linger 1ms -records "$records" >/dev/null
  done
}

logdir=$work/broker/node1
if [ "${BROKER:-moldau}" = kafka ]; then start_kafka "$work/broker" "$port"; else build_moldau; start_moldau "$work/broker" "$port"; fi
fill "$port"
"$kafka" kafka-console-consumer --bootstrap-server "127.0.0.1:$port" --topic files-none --group files-group --from-beginning --max-messages 1000 --timeout-ms 60000 >/dev/null
"$kafka" kafka-console-consumer --bootstrap-server "127.0.0.1:$port" --topic files-none --group files-consumer --from-beginning --max-messages 1000 --timeout-ms 60000 \
  --command-property group.protocol=consumer >/dev/null
stop_broker "$broker_pid"
check_offsets "$logdir"
check "after a clean stop" "$logdir" $((5 * records))
if [ "${BROKER:-moldau}" = kafka ]; then exit; fi

start_moldau "$work/broker" "$port"
fill "$port"
kill -9 "$broker_pid"
start_moldau "$work/broker" "$port"
stop_broker "$broker_pid"
check "after kill -9 and a recovery" "$logdir" $((10 * records))

# Partitions that Apache Kafka wrote: copied into a log directory of Moldau's and adopted.
start_kafka "$work/kafka" $((port + 10))
"$work/judge" make -n "$records" "$work/want"
for codec in none zstd; do
  "$work/kgo" produce "127.0.0.1:$((port + 10))" "adopted-$codec" "$codec" true "$work/want"
done
stop_broker "$broker_pid"
moldau_properties "$work/adopter" $((port + 20))
id=$(sed -n 's/^topic_id: //p' "$work/kafka/node1/adopted-none-0/partition.metadata")
start_moldau "$work/adopter" $((port + 20))
stop_broker "$broker_pid"
cp -r "$work"/kafka/node1/adopted-* "$work/adopter/node1/"
"$moldau" topic adopt --config "$work/adopter/server.properties" "$work/adopter/node1"
start_moldau "$work/adopter" $((port + 20))
for codec in none zstd; do
  "$work/kgo" consume "127.0.0.1:$((port + 20))" "adopted-$codec" "$records" "$work/got"
  "$work/judge" compare "$work/want" "$work/got"
done
"$kafka" kafka-topics --bootstrap-server "127.0.0.1:$((port + 20))" --describe --topic adopted-none | grep -qF "TopicId: $id" ||
  die "the adopted topic has another id than $id"
echo "topic adopt: partitions of Apache Kafka are served, byte for byte, under their topic id"
