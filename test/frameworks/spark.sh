#!/usr/bin/env bash
# spark.sh has Spark Structured Streaming (4.0.0, its own Kafka source and sink) read a topic, write each event on, and
# count and sum the events by key. It is killed twice and goes on from its checkpoints; the broker is killed under it once.
# The sink is at least once: events may be written twice after a kill, none may be missing or wrong. The last sums of every
# key are those of a batch.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/common.sh"

java_17() { ls -d /usr/lib/jvm/*17* 2>/dev/null | head -1 || true; } # Spark 4.0 does not run on the newest Java

install_spark() {
  java_home=$(java_17)
  [ -n "$java_home" ] || { install openjdk-17-jre-headless; java_home=$(java_17); }
  [ -f "$cache/spark/.done" ] && return
  rm -rf "$cache/spark"
  python3 -m venv "$cache/spark"
  "$cache/spark/bin/pip" install -q pyspark==4.0.0
  mvn -q -B -f "$here/spark/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$cache/spark/jars" >&2
  touch "$cache/spark/.done"
}

launch_spark() { # TRIGGER
  launch spark env JAVA_HOME="$java_home" SPARK_LOCAL_IP=127.0.0.1 SPARK_LOCAL_DIRS="$work/tmp" PYSPARK_PYTHON="$cache/spark/bin/python" \
    "$cache/spark/bin/spark-submit" \
    --master 'local[2]' --driver-memory 512m --jars "$(printf '%s,' "$cache"/spark/jars/*.jar)" --conf spark.ui.enabled=false \
    --conf spark.sql.shuffle.partitions=2 "$here/spark/app.py" "$bootstrap" "$work/checkpoints" $((records / 20)) "$1"
}

batches() { # QUERY: the number of its last committed batch, from 1
  local last; last=$(ls "$work/checkpoints/$1/commits" 2>/dev/null | sort -n | tail -1)
  echo $((${last:--1} + 1))
}
committed() { [ "$(batches doubled)" -ge "$1" ] && [ "$(batches sums)" -ge "$1" ]; } # BATCHES

install_spark
events "$records" >"$work/events"
start_broker
create_topic events 3
create_topic doubled 3
create_topic sums 2

part "$work/events" 0 50 | produce "$bootstrap" events
launch_spark continuous
await "a third batch" committed 3
kill_hard "$pid"
n=$(batches sums)
[ "$n" -lt 10 ] || die "Spark had read all before it was killed"

part "$work/events" 50 75 | produce "$bootstrap" events
launch_spark continuous
await "a batch after the restart" committed $((n + 1))
crash_broker
await "a batch after the broker's restart" committed 15
part "$work/events" 75 100 | produce "$bootstrap" events
await "a batch of the last events" committed 17
kill_hard "$pid"

launch_spark available
await "end" ended
wait "$pid" || fail "Spark ended with status $?"

# The batch.
awk -F'[\t ]' '{ print $1 "\t" $2 " " 2 * $3 }' "$work/events" | sort >"$work/doubled.want"
awk -F'[\t ]' '{ n[$1]++; sum[$1] += $3 } END { for (k in n) print k "\t" n[k] " " sum[k] }' "$work/events" | sort >"$work/sums.want"
fetch "$bootstrap" doubled '%k\t%s\n' >"$work/doubled.all"
sort -u "$work/doubled.all" >"$work/doubled"
fetch "$bootstrap" sums '%k\t%s\n' | awk -F'\t' '{ last[$1] = $0 } END { for (k in last) print last[k] }' | sort >"$work/sums"
equal "$work/doubled.want" "$work/doubled" || fail "Spark wrote other events than were read"
equal "$work/sums.want" "$work/sums" || fail "Spark's sums are not those of a batch"
echo "   Spark 4.0.0: $records events in $(batches sums) batches, two kills and one of the broker: each event written on" \
  "($(($(wc -l <"$work/doubled.all") - records)) twice), the counts and sums of $(wc -l <"$work/sums") keys as in a batch"
