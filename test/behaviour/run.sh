#!/usr/bin/env bash
# run.sh [PATTERN] runs the suite against Apache Kafka 4.3.1 and against Moldau, both with the same settings, and prints
# the cases of each area that passed. It fails unless every case passes on both; without a pattern there must be at least
# 150. About 3 minutes. PORT: 21400 (Apache Kafka) and the tenth after it (Moldau). ONLY=kafka or moldau asks one of them.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
port=${PORT:-21400}
pattern=${1:-.}
least=150
[ "$pattern" = . ] || least=1
brokers=${ONLY:-kafka moldau}

# Short intervals, so that what happens in the background happens soon, and limits that a few members reach. The cases
# know group.max.size, that of consumer groups too, offset.metadata.max.bytes, num.partitions, log.index.interval.bytes and the session timeouts.
settings='num.partitions=2
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.max.session.timeout.ms=60000
group.max.size=4
group.consumer.max.size=4
group.consumer.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=200
offset.metadata.max.bytes=128
offsets.topic.num.partitions=4
offsets.retention.minutes=1
offsets.retention.check.interval.ms=200
log.initial.task.delay.ms=200
log.retention.check.interval.ms=200
log.segment.delete.delay.ms=1000
log.index.interval.bytes=8192
log.cleaner.backoff.ms=100'
export BROKER_CONF="$settings ${BROKER_CONF:-}" KAFKA_CONF="$settings" KAFKA_HEAP=${KAFKA_HEAP:-512M}

build_moldau
(cd "$root/test/behaviour" && go test -c -o "$work/behaviour.test" .)

ask() { # BROKER PORT: runs the suite, and keeps its output
  "start_$1" "$work/$1" "$2"
  (cd "$work" && MOLDAU_BOOTSTRAP=127.0.0.1:$2 ./behaviour.test -test.v -test.parallel 64 -test.timeout 8m \
    -test.run "TestBehaviour/$pattern" >"$1.out" 2>&1) || true
  grep -q '^PASS$' "$work/$1.out" || tail -5 "$work/$1.out" >&2
  stop_broker "$broker_pid"
}

for broker in $brokers; do ask "$broker" "$port"; port=$((port + 10)); done

# Each case is a line "--- PASS: TestBehaviour/area:_what_the_broker_does (1.23s)".
for broker in $brokers; do
  sed -nE "s|^ *--- ([A-Z]+): TestBehaviour/([^:]*):_(.*) \(.*|$broker\t\1\t\2\t\3|p" "$work/$broker.out"
done | awk -F'\t' -v brokers="$brokers" -v least="$least" '
  { state[$1, $3 ":" $4] = $2; if (!(($3 ":" $4) in seen)) { seen[$3 ":" $4] = $3; cases[$3]++; total++ }
    if (!($3 in order)) { order[$3] = ++areas; area[areas] = $3 } }
  END {
    n = split(brokers, of, " ")
    for (c in seen) {
      whole = 1
      for (i = 1; i <= n; i++) if (state[of[i], c] == "PASS") passed[of[i], seen[c]]++; else { whole = 0; missed[of[i]] = missed[of[i]] "\n  " c }
      if (whole) both++
    }
    printf "%-20s %6s", "area", "cases"; for (i = 1; i <= n; i++) printf " %8s", of[i]; print ""
    for (a = 1; a <= areas; a++) {
      name = area[a]; gsub("_", " ", name); printf "%-20s %6d", name, cases[area[a]]
      for (i = 1; i <= n; i++) { printf " %8d", passed[of[i], area[a]]; sum[of[i]] += passed[of[i], area[a]] }
      print ""
    }
    printf "%-20s %6d", "all", total; for (i = 1; i <= n; i++) printf " %8d", sum[of[i]]; print ""
    for (i = 1; i <= n; i++) if (missed[of[i]] != "") print "not passed by " of[i] ":" missed[of[i]]
    if (both < total) exit 1
    if (total < least) { print total " cases, fewer than " least; exit 1 }
  }' || failed=1
for broker in $brokers; do
  tail -1 "$work/$broker.out" | grep -q '^PASS$' || failed=1
done
[ -z "${failed:-}" ] || { KEEP=1; die "not passed"; }
