#!/usr/bin/env bash
# run.sh [SUITE...] runs suites that others wrote, unchanged, from the packages that carry them: kgo, kafka-go,
# confluent-kafka-go (default: all).
# SUITE.txt lists what has to pass; it may only grow. What passes besides is printed.
#   BROKER=moldau|kafka   what they run against; PORT: 19792
#   NODES=3               three brokers instead of one, with three replicas of everything: for kgo alone
#   KILL_EVERY=20         with three: one after the other is killed every 20 s with SIGKILL, and started again DOWN_FOR=3 seconds later
# kafka-go's tests dial localhost:9092 whatever one says: they run in a network namespace of their own, which takes root.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/../lib.sh"
source "$here/../cluster/lib.sh"
nodes=${NODES:-1} broker=${BROKER:-moldau}
suites=("$@")
if [ $# = 0 ]; then
  suites=(kgo); [ "$nodes" = 3 ] || suites+=(kafka-go confluent-kafka-go)
fi
case $nodes in
  1) [ "$kill_every" = 0 ] || die "KILL_EVERY takes NODES=3" ;;
  3) [ "${suites[*]}" = kgo ] || die "NODES=3 is for kgo" ;;
  *) die "NODES is 1 or 3" ;;
esac

# What each suite is, the tests of it that ask a broker for nothing but what is in question here, and what they want of it.
# Left out of kgo: transactions, share groups, SCRAM, and what needs no broker. Left out of kafka-go: SASL and transactions,
# and a test that dereferences a nil pointer of its own at its end, which takes those with it that still run.
# Left out of confluent-kafka-go: what needs no broker, transactions, ACLs (which take an authorizer) and SCRAM; and
# TestConsumerCloseForStaticMember, which closes consumers that it still polls: now and then librdkafka never returns.
suite_kgo() {
  package=github.com/twmb/franz-go/pkg/kgo
  tests='^(TestUnknownGroupOffsetFetchPinned|TestProcessHooks|TestPing|TestIssue[0-9]+|TestConsume.*|TestDirectPartitionPurge|TestAddRemovePartitions|TestPauseIssue.*|TestPooling|TestGroupSimple|TestHookPollStart|TestLookbackMilli|TestGroupETL|TestClient_Produce.*)$'
  conf=$'num.partitions=3'
  export KGO_SEEDS=127.0.0.1:$port KGO_TEST_RF=$nodes KGO_TEST_RECORDS=${KGO_TEST_RECORDS:-20000} KGO_LOG_LEVEL=none
}
suite_kafka_go() {
  package=github.com/segmentio/kafka-go
  tests=.
  skip='^TestReaderConsumerGroup$/^consumer_group_commits_on_close$'
  conf=$'auto.create.topics.enable=true\nmessage.max.bytes=200000000'
  export KAFKA_VERSION=4.3.1
}
suite_confluent_kafka_go() {
  package=github.com/confluentinc/confluent-kafka-go/v2/kafka
  module=$here/confluent
  tests='^(TestIntegration|TestAdminAPIWithDefaultValue)$'
  skip='^TestIntegration$/^(TestAdminACLs|TestAdminClient_UserScramCredentials)$'
  conf=$'num.partitions=4\nauto.create.topics.enable=true'
  testconf='{"Brokers": "127.0.0.1:'$port'", "TopicName": "test", "GroupID": "testgroup", "PerfMsgCount": 1000, "PerfMsgSize": 100}'
}

# run_tests runs the tests of a suite: from its package, or where they look for testconf.json, from a directory with that.
run_tests() {
  if [ -z "$testconf" ]; then
    cd "$module"
    go test -v -count=1 -timeout 25m -run "$tests" -skip "$skip" "$package"
    return
  fi
  mkdir "$work/$suite.dir"
  (cd "$module" && go test -c -o "$work/$suite.test" "$package")
  cd "$work/$suite.dir"
  echo "$testconf" >testconf.json
  "$work/$suite.test" -test.v -test.timeout 25m -test.run "$tests" -test.skip "$skip"
}

# start_brokers starts the brokers of a suite, and what kills them.
start_brokers() {
  if [ "$nodes" = 3 ]; then
    conf+=$'\ndefault.replication.factor=3' BROKER_CONF=$conf KAFKA_CONF=$conf
    start_cluster "$work/$suite" "$port"
    KGO_SEEDS=$bootstrap
    [ "$kill_every" = 0 ] || kill_in_turn "$work/kills"
  elif [ "$broker" = kafka ]; then
    start_kafka "$work/$suite" "$port"
  else
    start_moldau "$work/$suite" "$port"
  fi
}
stop_brokers() {
  if [ "$nodes" = 1 ]; then stop_broker "$broker_pid"; fi
  if [ "$kill_every" -gt 0 ]; then kills_told "$work/kills" | sed 's/^/   /' >&2; fi
}

# run_suite starts a broker, runs the suite, and compares what passed with the list.
run_suite() { # SUITE
  local suite=$1 port=${PORT:-19792} package module=$here tests skip='' conf testconf=''
  "suite_${suite//-/_}"
  if [ "$suite" = kafka-go ]; then port=9092; fi
  export BROKER_CONF=$conf KAFKA_CONF=$conf
  start_brokers
  say "== $suite"
  (run_tests) >"$work/$suite.log" 2>&1 || true
  stop_brokers
  sed -n 's/^ *--- PASS: \([^ ]*\) .*/\1/p' "$work/$suite.log" | sort -u >"$work/$suite.passed"
  sed -n 's/^ *--- FAIL: \([^ ]*\) .*/\1/p' "$work/$suite.log" | sort -u >"$work/$suite.failed"
  say "   $(wc -l <"$work/$suite.passed") tests passed on $broker, $(wc -l <"$work/$suite.failed") failed, $(grep -c . "$here/$suite.txt") have to pass"
  comm -13 <(sort -u "$here/$suite.txt") "$work/$suite.passed" | sed 's/^/   passes, not listed: /' >&2
  comm -23 <(sort -u "$here/$suite.txt") "$work/$suite.passed" >"$work/$suite.missing"
  if [ -s "$work/$suite.missing" ]; then
    sed 's/^/   listed, did not pass: /' "$work/$suite.missing" >&2
    KEEP=1
    return 1
  fi
}

[ "$broker" = kafka ] && [ "$nodes" = 1 ] || build_moldau
if [ "${1:-}" = --inside ]; then # the namespace
  ip link set lo up
  suites=(kafka-go)
  run_suite kafka-go
  exit
fi
status=0
for suite in "${suites[@]}"; do
  if [ "$suite" = kafka-go ]; then
    BROKER_BIN=${moldau:-} unshare --net "$0" --inside || status=1
  else
    run_suite "$suite" || status=1
  fi
done
exit "$status"
