#!/usr/bin/env bash
# run.sh has Moldau and Apache Kafka compact the same records: a million of 20,000 keys, one in ten a tombstone, in topics that keep their
# tombstones and in one that does not, plain, compressed, and of an idempotent producer. What is left must be equal, offset by offset,
# to each other and to what the rules say, and kafka-dump-log must have no complaint about the segments. About 5 min. PORT: 21000 and up.
#   RECORDS=1000000   in each topic
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
port=${PORT:-21000} records=${RECORDS:-1000000}
conf=$'log.cleaner.backoff.ms=200\n'
export BROKER_CONF="$conf${BROKER_CONF:-}" KAFKA_CONF="$conf${KAFKA_CONF:-}"
topics=(plain:none:false:kept zstd:zstd:true:kept lz4:lz4:false:gone) # name:codec:idempotent:tombstones
rounds=3                                                              # a tombstone goes with the second cleaning that sees it

build_moldau
(cd "$root/test/compaction" && go build -o "$work/compaction" .)

fill() { # BOOTSTRAP
  local name codec idempotent tombstones retention
  for t in "${topics[@]}"; do
    IFS=: read -r name codec idempotent tombstones <<<"$t"
    retention=86400000
    [ "$tombstones" = kept ] || retention=0
    "$work/compaction" write "$1" "compaction-$name" "$codec" "$idempotent" "$records" segment.bytes=4194304 \
      min.cleanable.dirty.ratio=0 "delete.retention.ms=$retention" file.delete.delay.ms=1000
  done
}

# cleaned waits until the cleaner's own checkpoint says that it has been over everything below an offset.
cleaned() { # LOGDIR TOPIC OFFSET
  local at
  for _ in $(seq 3000); do
    at=$(sed -n "s/^$2 0 //p" "$1/cleaner-offset-checkpoint" 2>/dev/null || true)
    if [ "${at:-0}" -ge "$3" ]; then return; fi
    sleep 0.1
  done
  die "$1: $2 is cleaned up to ${at:-0} after 300 s, want $3"
}

clean() { # BOOTSTRAP LOGDIR
  local name round offset
  for round in $(seq "$rounds"); do
    for t in "${topics[@]}"; do
      name=${t%%:*}
      offset=$("$work/compaction" roll "$1" "compaction-$name" "$round")
      cleaned "$2" "compaction-$name" "$offset"
    done
  done
}

# complaints prints what kafka-dump-log says that it says of no sound file. That offsets have gaps it reports of every compacted segment.
complaints() { # DUMP
  grep -aE 'isvalid: false|Mismatches in|mismatch|Found out of order|Index timestamp of|No entry|Exception|rror:|orrupt|do not match' "$1" || true
}

dump() { # LOGDIR
  local name logs=() indexes=() said
  for t in "${topics[@]}"; do
    name=${t%%:*}
    logs+=("$1/compaction-$name-0"/*.log)
    indexes+=("$1/compaction-$name-0"/*.index "$1/compaction-$name-0"/*.timeindex)
  done
  "$kafka" kafka-dump-log --files "$(IFS=,; echo "${logs[*]}")" --deep-iteration >"$work/dump" 2>&1 || die "kafka-dump-log: $(tail -1 "$work/dump")"
  "$kafka" kafka-dump-log --files "$(IFS=,; echo "${indexes[*]}")" --index-sanity-check >"$work/dump.index" 2>&1 || die "kafka-dump-log: $(tail -1 "$work/dump.index")"
  "$kafka" kafka-dump-log --files "$(IFS=,; echo "${indexes[*]}")" --verify-index-only >>"$work/dump.index" 2>&1 || die "kafka-dump-log: $(tail -1 "$work/dump.index")"
  said=$(complaints "$work/dump"; complaints "$work/dump.index")
  [ -z "$said" ] || { head -20 <<<"$said" >&2; die "kafka-dump-log complains"; }
  echo "kafka-dump-log: ${#logs[@]} segments, $(grep -acE '^\| offset: ' "$work/dump") records, $(grep -acE 'deleteHorizonMs: (OptionalLong\[)?[0-9]' "$work/dump" || true) batches with a delete horizon: no complaint"
}

broker() { # NAME PORT LOGDIR
  local name
  fill "127.0.0.1:$2"
  clean "127.0.0.1:$2" "$3"
  for t in "${topics[@]}"; do name=${t%%:*}; "$work/compaction" read "127.0.0.1:$2" "compaction-$name" >"$work/$name.$1"; done
}

start_kafka "$work/kafka" $((port + 10))
broker kafka $((port + 10)) "$work/kafka/node1"
stop_broker "$broker_pid"
start_moldau "$work/moldau" "$port"
began=$SECONDS
broker moldau "$port" "$work/moldau/node1"
took=$((SECONDS - began))
stop_broker "$broker_pid"

for t in "${topics[@]}"; do
  IFS=: read -r name codec idempotent tombstones <<<"$t"
  "$work/compaction" want "$records" "$rounds" "$tombstones" >"$work/$name.want"
  for who in kafka moldau; do
    cmp "$work/$name.want" "$work/$name.$who" >&2 || { diff "$work/$name.want" "$work/$name.$who" | head -10 >&2; die "$name: $who has not left what it should"; }
  done
  echo "$name: codec $codec, idempotent $idempotent: $records records, $(wc -l <"$work/$name.moldau") left, tombstones $tombstones ($(grep -c ' (null)$' "$work/$name.moldau" || true)): equal to Apache Kafka's"
done
echo "moldau: written, cleaned and read in $took s, $(grep -c 'log compacted' "$work/moldau/moldau.log") cleanings"
dump "$work/moldau/node1"
