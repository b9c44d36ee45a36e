#!/usr/bin/env bash
# mirror-maker.sh has MirrorMaker 2 (4.3.1) copy a topic of Apache Kafka's to Moldau and one of Moldau's to Apache Kafka, both at once.
# It is stopped and started again: every partition's copy is equal, record by record, with times, keys and headers, and a
# group that has read all of Apache Kafka's topic goes on at the end of Moldau's copy. Then the broker is killed: records may
# come twice, none is missing and first comes are in order.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/common.sh"
theirs=127.0.0.1:$((port + 4))
everything='%p\t%T\t%k\t%h\t%s\n'

launch_mirror() {
  cat >"$work/mirror.properties" <<P
clusters=kafka, moldau
kafka.bootstrap.servers=$theirs
moldau.bootstrap.servers=$bootstrap
kafka->moldau.enabled=true
kafka->moldau.topics=orders
moldau->kafka.enabled=true
moldau->kafka.topics=returns
replication.factor=1
checkpoints.topic.replication.factor=1
heartbeats.topic.replication.factor=1
offset-syncs.topic.replication.factor=1
config.storage.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
refresh.topics.interval.seconds=5
refresh.groups.interval.seconds=5
emit.checkpoints.interval.seconds=5
sync.group.offsets.enabled=true
sync.group.offsets.interval.seconds=5
sync.topic.configs.interval.seconds=5
offset.lag.max=0
offset.flush.interval.ms=1000
scheduled.rebalance.max.delay.ms=0
P
  launch mirror env KAFKA_LOG=WARN "$kafka" connect-mirror-maker "$work/mirror.properties"
}

fill() { # FROM TO
  part "$work/events" "$1" "$2" | produce "$theirs" orders -H from=kafka
  part "$work/events" "$1" "$2" | produce "$bootstrap" returns -H from=moldau
}
sorted() { fetch "$1" "$2" "$everything" | sort -s -n -k1,1; } # BOOTSTRAP TOPIC: partitions one after the other
copy_equal() { # FROM TOPIC TO COPY [FILTER...]
  local from=$1 topic=$2 to=$3 copy=$4; shift 4
  sorted "$from" "$topic" >"$work/$topic.want"
  sorted "$to" "$copy" | "${@:-cat}" >"$work/$topic.got"
  equal "$work/$topic.want" "$work/$topic.got"
}
copied() { copy_equal "$theirs" orders "$bootstrap" kafka.orders && copy_equal "$bootstrap" returns "$theirs" moldau.returns; }
firsts_copied() {
  copy_equal "$theirs" orders "$bootstrap" kafka.orders awk '!seen[$0]++' &&
    copy_equal "$bootstrap" returns "$theirs" moldau.returns awk '!seen[$0]++'
}
ends() { fetch "$1" "$2" '%p %o\n' | awk '{ end[$1] = $2 + 1 } END { for (p in end) print p, end[p] }' | sort; } # BOOTSTRAP TOPIC
group_at_end() { # the offsets of the group on the copy are its ends
  ends "$bootstrap" kafka.orders >"$work/ends"
  "$kafka" kafka-consumer-groups --bootstrap-server "$bootstrap" --describe --group readers 2>"$work/describe.err" |
    awk '$2 == "kafka.orders" { print $3, $4 }' | sort >"$work/offsets"
  equal "$work/ends" "$work/offsets"
}

events "$records" >"$work/events"
start_broker
ours=$broker_pid
start_kafka "$work/kafka" "${theirs#*:}"
broker_pid=$ours
"$kafka" kafka-topics --bootstrap-server "$theirs" --create --topic orders --partitions 3 --config retention.ms=123456789 >/dev/null
create_topic returns 2

fill 0 40
launch_mirror
await "copy" copied
fill 40 60
stop "$pid"
fill 60 70
launch_mirror
await "copy after MirrorMaker's restart" copied
"$kafka" kafka-console-consumer --bootstrap-server "$theirs" --topic orders --group readers --from-beginning \
  --max-messages $((records * 70 / 100)) --timeout-ms 60000 >/dev/null 2>&1
await "offsets of the group" group_at_end
"$kafka" kafka-topics --bootstrap-server "$bootstrap" --describe --topic kafka.orders >"$work/described"
grep -q 'PartitionCount: 3.*retention.ms=123456789' "$work/described" || fail "the copy's topic is not like its source: $(head -1 "$work/described")"

crash_broker
fill 70 100
await "copy after the broker's restart" firsts_copied
stop "$pid"
echo "   MirrorMaker 4.3.1: $records records from Apache Kafka and as many to it, times, keys and headers as they were; a group's offsets" \
  "translated; $(($(sorted "$bootstrap" kafka.orders | wc -l) + $(sorted "$theirs" moldau.returns | wc -l) - 2 * records)) came twice after the broker's kill"
