#!/usr/bin/env bash
# streams.sh has Kafka Streams (4.3.1, at least once) count words: a repartition topic, a store with its changelog. A second
# instance joins, the broker is killed, the first instance stops, the second restores its part from the changelog and goes on.
# Nothing there makes Streams do work twice, so the counts of every word come as 1, 2, 3, ... up to the count of a batch.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/common.sh"
words=5 # in a line

launch_instance() { # NAME
  launch "$1" env KAFKA_LOG=WARN CP="$work/classes" "$kafka" java WordCount "$bootstrap" "$work/state-$1"
  await "instance $1 at work" grep -sqx RUNNING "$work/$1.log"
}
fill() { part "$work/lines" "$1" "$2" | produce "$bootstrap" lines; } # FROM TO
counts() { fetch "$bootstrap" counts '%k\t%s\n'; }
counted() { [ "$(counts | wc -l)" -ge $((records / words * words * $1 / 100)) ]; } # HUNDREDTHS
log_start() { # TOPIC: the sum of its partitions' first offsets
  local p; for p in 0 1 2; do kcat -Q -b "$bootstrap" -t "$1:$p:-2"; done | awk '{ sum += $NF } END { print sum }'
}
purged() { [ "$(log_start word-count-words-repartition)" -gt 0 ]; }

# lines prints lines of key, tab and words, some words far more often than others.
lines() {
  awk -v n=$((records / words)) -v words="$words" 'BEGIN { x = 7; for (i = 1; i <= n; i++) { printf "%d\t", i
    for (w = 1; w <= words; w++) { x = x * 16807 % 2147483647; u = x / 2147483647; printf "%sw%d", (w > 1 ? " " : ""), int(u * u * u * 2000) }
    print "" } }'
}

java=$(ls /usr/lib/jvm/temurin-*/bin/java 2>/dev/null | tail -1 || true)
javac=$(dirname "$(readlink -f "${java:-$(command -v java)}")")/javac
"$javac" -d "$work/classes" -cp "$("$kafka" install)/*" "$here/streams/WordCount.java"
lines >"$work/lines"
start_broker
create_topic lines 3
create_topic counts 2

fill 0 25
launch_instance one
one=$pid
await "first count" counted 1
launch_instance two
fill 25 50
await "half of the counts" counted 50
fill 50 75
crash_broker
await "three quarters of the counts after the broker's restart" counted 75
fill 75 80
stop "$one"
fill 80 100
await "count of every word in instance two" counted 100
await "purge of the repartition topic" purged
stop "$pid"

cut -f2 "$work/lines" | tr ' ' '\n' | awk '{ n[$1]++ } END { for (w in n) print w "\t" n[w] }' | sort >"$work/want"
counts >"$work/counts"
awk -F'\t' '{ last[$1] = $2 } END { for (w in last) print w "\t" last[w] }' "$work/counts" | sort >"$work/got"
equal "$work/want" "$work/got" || fail "the counts are not those of a batch"
awk -F'\t' '$2 != ++n[$1] { print "the count " $2 " of " $1 " came as its number " n[$1]; exit 1 }' "$work/counts" >"$work/order" || fail "$(cat "$work/order")"
echo "   Streams 4.3.1: $(wc -l <"$work/counts") words in $((records / words)) lines, $(wc -l <"$work/got") counts, each as in a batch," \
  "over a second instance, a kill of the broker and a restore from the changelog"
