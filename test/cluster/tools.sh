#!/usr/bin/env bash
# tools.sh has Apache Kafka's own tools look after three nodes under load, while brokers are killed and come back, and judges what
# the tools print: about 5 min.
#   BROKER=moldau|kafka   what they look after: Apache Kafka shows that the judge is right. PORT: 19392 and up
# The topics are placed by hand, so that which partitions a tool has to name is known:
#   tools-three  on all three brokers, under load; acks=all wants two
#   tools-pair   on two each; acks=all wants both
#   tools-one    on one each
# Exit status 1 where something was not as it has to be; the rest is looked at all the same.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/../lib.sh"
source "$here/lib.sh"
broker=${BROKER:-moldau} port=${PORT:-19392}
case $broker in moldau | kafka) ;; *) die "BROKER is moldau or kafka" ;; esac
export KAFKA_HEAP=${KAFKA_HEAP:-512M}
build_moldau
failed=0

tool() { KAFKA_HEAP=256M timeout 120 "$kafka" "$@" 2>&1; }
at() { tool "$1" --bootstrap-server "$bootstrap" "${@:2}"; } # TOOL ARGS...
kafka_cluster() { tool kafka-cluster "$1" --bootstrap-server "$bootstrap" "${@:2}"; } # COMMAND ARGS...

equal() { # WANT GOT
  [ "$1" = "$2" ] || { printf 'want: %s\ngot:  %s\n' "$1" "$2"; return 1; }
}
matches() { # PATTERN TEXT
  grep -Eq "$1" <<<"$2" || { printf 'no line like /%s/ in:\n%s\n' "$1" "$2"; return 1; }
}
refused() { # PATTERN COMMAND...: the command fails, and says why
  local out pattern=$1; shift
  if out=$("$@"); then printf '%s succeeds:\n%s\n' "$*" "$out"; return 1; fi
  matches "$pattern" "$out"
}

# check has a function succeed, with every command of it, at once; eventually has it succeed within a minute. Neither may be
# part of a condition: set -e would be void in the function.
check() { # WHAT FUNCTION...
  attempt "${@:2}"
  if wait $!; then echo "ok     $1"; else no "$1"; fi
}
eventually() { # WHAT FUNCTION...
  local begun=$SECONDS
  while :; do
    attempt "${@:2}"
    if wait $!; then
      echo "ok     $1 (after $((SECONDS - begun)) s)"
      return
    fi
    if [ $((SECONDS - begun)) -ge 60 ]; then break; fi
    sleep 0.2
  done
  no "$1"
}
attempt() { (trap - EXIT; set -e; "$@") >"$work/attempt.log" 2>&1 & }
no() {
  failed=$((failed + 1))
  echo "FAILED $1"
  sed 's/^/       /' "$work/attempt.log"
}

# listed wants kafka-topics to list just these partitions as under-replicated and so on.
listed() { # KIND PARTITION...
  local out kind=$1; shift
  out=$(at kafka-topics --describe "--$kind-partitions")
  equal "$*" "$(sed -nE 's/.*Topic: (\S+)\s+Partition: ([0-9]+)\s.*/\1-\2/p' <<<"$out" | sort | xargs)"
}
create() { # TOPIC ASSIGNMENT MIN_ISR
  matches "Created topic $1" "$(at kafka-topics --create --topic "$1" --replica-assignment "$2" --config min.insync.replicas="$3")"
}
# leaders wants these brokers to lead the partitions of a topic.
leaders() { # TOPIC LEADER...
  local out topic=$1; shift
  out=$(at kafka-topics --describe --topic "$topic")
  equal "$*" "$(sed -nE 's/.*Partition: [0-9]+\s+Leader: (\S+)\s.*/\1/p' <<<"$out" | xargs)"
}

three=(tools-three-{0..5}) pair=(tools-pair-{0..2}) one=(tools-one-{0..2})

make_topics() {
  create tools-three 1:2:3,2:3:1,3:1:2,1:3:2,2:1:3,3:2:1 2
  create tools-pair 1:2,2:3,3:1 2
  create tools-one 1,2,3 1
}
lists_of_whole() {
  listed under-replicated
  listed unavailable
  listed under-min-isr
  listed at-min-isr "${one[@]}" "${pair[@]}"
}
lists_without_2() {
  listed under-replicated tools-one-1 tools-pair-{0,1} "${three[@]}"
  listed unavailable tools-one-1
  listed under-min-isr tools-one-1 tools-pair-{0,1}
  listed at-min-isr tools-one-{0,2} tools-pair-2 "${three[@]}"
}

endpoints() { # ID:STATE..., of brokers
  local out
  out=$(kafka_cluster list-endpoints --include-fenced-brokers)
  equal "$*" "$(awk '$2 == "127.0.0.1" && $3 == '"$port"' + $1 - 1 && $6 == "broker" {print $1 ":" $5}' <<<"$out" | sort | xargs)"
}
cluster_id() { matches '^Cluster ID: [A-Za-z0-9_-]{22}$' "$(kafka_cluster cluster-id)"; }

api_versions() { # ID...
  local out
  out=$(at kafka-broker-api-versions)
  equal "$*" "$(sed -nE 's/^127.0.0.1:[0-9]+ \(id: ([0-9]) .*/\1/p' <<<"$out" | sort | xargs)"
  equal $# "$(grep -c 'Produce(0): 0 to 13 \[usable: 13\]' <<<"$out")"
  equal $# "$(grep -c 'Fetch(1): 4 to 18 \[usable: 18\]' <<<"$out")"
}

# features wants every feature finalized within what is supported, and all of one epoch.
features() {
  local out
  out=$(at kafka-features describe)
  matches '^Feature: \S+\s+SupportedMinVersion: \S+\s+SupportedMaxVersion: \S+\s+FinalizedVersionLevel: \S+\s+Epoch: [0-9]+' "$out"
  equal 1 "$(sed 's/.*Epoch: //' <<<"$out" | sort -u | wc -l)"
}

broker_config() { # ID NAME: its value at a broker, as this one tells it
  at kafka-configs --entity-type brokers --entity-name "$1" --describe --all | sed -nE "s/^ *$2=(\S+) .*/\1/p"
}
configs() {
  local id
  matches '^Completed updating config for broker 2' "$(at kafka-configs --entity-type brokers --entity-name 2 --alter --add-config log.cleaner.threads=2)"
  matches '^Completed updating default config' "$(at kafka-configs --entity-type brokers --entity-default --alter --add-config message.max.bytes=2000000)"
  equal "1 2 1" "$(for id in 1 2 3; do broker_config "$id" log.cleaner.threads; done | xargs)"
  equal "2000000 2000000 2000000" "$(for id in 1 2 3; do broker_config "$id" message.max.bytes; done | xargs)"
  matches 'message.max.bytes=2000000' "$(at kafka-configs --entity-type brokers --entity-default --describe)"
  at kafka-configs --entity-type brokers --entity-name 2 --alter --delete-config log.cleaner.threads
  at kafka-configs --entity-type brokers --entity-default --alter --delete-config message.max.bytes
}

status() { at kafka-metadata-quorum describe --status; }
field() { sed -nE "s/^$1: +(.*)/\1/p"; } # NAME
voters() {
  local out
  out=$(status)
  matches '^LeaderId: +[123]$' "$out"
  matches '^HighWatermark: +[0-9]{2,}$' "$out"
  equal "1 2 3" "$(field CurrentVoters <<<"$out" | grep -oE '"id": [0-9]+' | grep -oE '[0-9]+' | sort | xargs)"
  equal '[]' "$(field CurrentObservers <<<"$out")"
}
# replication wants one leader and two followers; those that run were heard of within seconds, and have caught up.
replication() { # ID..., that run
  local out
  out=$(at kafka-metadata-quorum describe --replication --human-readable)
  equal "Follower Follower Leader" "$(awk '$1 ~ /^[123]$/ {print $NF}' <<<"$out" | sort | xargs)"
  equal "$*" "$(awk '$1 ~ /^[123]$/ && $4 < 100 && $5 >= 0 && $5 < 5000 {print $1}' <<<"$out" | sort | xargs)"
}
quorum_leader() { status | field LeaderId; }
another_leads() { # LEADER EPOCH, of before
  local out
  out=$(status)
  [ "$(field LeaderId <<<"$out")" != "$1" ] && [ "$(field LeaderEpoch <<<"$out")" -gt "$2" ] || { echo "$1 led in epoch $2; $out"; return 1; }
  voters
}

# log_dirs prints "BROKER PARTITION SIZE LAG" of a topic.
log_dirs() { # BROKERS TOPIC
  at kafka-log-dirs --describe --broker-list "$1" --topic-list "$2" | tail -1 | python3 -c '
import json, sys
for b in json.load(sys.stdin)["brokers"]:
    for d in b["logDirs"]:
        assert d["error"] is None, d
        for p in d["partitions"]:
            assert p["isFuture"] is False, p
            print(b["broker"], p["partition"], p["size"], p["offsetLag"])'
}
directories() {
  local out
  out=$(log_dirs 1,2,3 tools-three)
  equal 18 "$(wc -l <<<"$out")"
  equal "6 1 6 2 6 3" "$(awk '$3 > 0 {print $1}' <<<"$out" | sort | uniq -c | xargs)"
}
# directories_agree wants each replica of a partition to have the same size, which it has when nothing is written any more.
directories_agree() {
  equal "${#three[@]}" "$(log_dirs 1,2,3 tools-three | awk '$3 > 0 && $4 == 0 {print $2, $3}' | sort | uniq -c | awk '$1 == 3' | wc -l)"
}

# verification reads all replicas side by side from the beginning, and wants nothing to differ, and the end to be reached: a replica that
# answers nothing holds the tool up without a word.
verification() {
  local out
  out=$(KAFKA_HEAP=256M timeout 20 "$kafka" kafka-replica-verification --broker-list "$bootstrap" --topics-include tools-three --time -2 --report-interval-ms 1000 2>&1 || true)
  matches 'max lag is [0-9]+ for partition tools-three-[0-5] at offset [0-9]+ among 6 partitions' "$out"
  if grep -Ei 'differ|mismatch|doesn.t match|error|exception' <<<"$out"; then return 1; fi
  sed -nE 's/.*max lag is ([0-9]+) for .* at offset ([0-9]+) among.*/\1 \2/p' <<<"$out" | tail -1 |
    awk '{exit !($1 < 200 && $2 > 0)}' || { echo "it stands still: $out"; return 1; }
}

elect() { at kafka-leader-election --election-type "$@"; } # KIND ARGS...
preferred_down() {
  refused 'PreferredLeaderNotAvailable|preferred leader' elect preferred --topic tools-three --partition 1
}
preferred_lead() {
  matches 'Successfully completed leader election \(PREFERRED\) for partitions .*tools-three-1' "$(elect preferred --all-topic-partitions)"
  leaders tools-three 1 2 3 1 2 3
  leaders tools-pair 1 2 3
  matches 'Valid replica already elected for partitions tools-three-1' "$(elect preferred --topic tools-three --partition 1)"
}

reassignments() {
  matches '^No partition reassignments found.$' "$(at kafka-reassign-partitions --list)"
  [ "$broker" = moldau ] || return 0
  echo '{"version":1,"partitions":[{"topic":"tools-one","partition":0,"replicas":[2]}]}' >"$work/reassign.json" # until it is built
  refused 'cannot be moved to' at kafka-reassign-partitions --reassignment-json-file "$work/reassign.json" --execute
}

unregistered() {
  matches 'Broker 3 is no longer registered' "$(kafka_cluster unregister --id 3)"
  endpoints 1:unfenced 2:unfenced
}
unregister_unknown() { refused 'not (registered|found)|BrokerIdNotRegistered' kafka_cluster unregister --id 77; }

load_begins() {
  echo retries=2147483647 >"$work/load.properties" # the tool sets it to 0 itself
  KAFKA_HEAP=256M "$kafka" kafka-verifiable-producer --bootstrap-server "$bootstrap" --command-config "$work/load.properties" --topic tools-three --throughput 100 --acks -1 >"$work/load" 2>"$work/load.err" &
  load=$!
  started+=("$load")
}
load_flows() { # N: that many more records were acknowledged since this was asked first
  [ "$(grep -c producer_send_success "$work/load")" -ge "$1" ]
}
load_goes_on() { wait_until 30 load_flows $(($(grep -c producer_send_success "$work/load") + 100)); }
load_ends() {
  kill "$load"
  while kill -0 "$load" 2>/dev/null; do sleep 0.1; done
  local acked; acked=$(grep -c producer_send_success "$work/load")
  if grep producer_send_error "$work/load" | head -3 | grep .; then return 1; fi
  equal "$acked" "$(at kafka-get-offsets --topic tools-three --time -1 | awk -F: '{n += $3} END {print n}')"
  echo "$acked" >"$work/acked"
}

# without_leader leaves one of two replicas that is not in sync: broker 3 was away while 2 went on alone, and 2 is away now.
without_leader() {
  create tools-unclean 2:3 1
  write tools-unclean 10
  kill_node 3
  wait_until 60 isr tools-unclean 2
  write tools-unclean 10
  kill_node 2
  start_node 3
}
write() { seq "$2" | at kafka-console-producer --topic "$1" --command-property acks=all; } # TOPIC N
isr() { # TOPIC ISR, of its only partition
  at kafka-topics --describe --topic "$1" | grep -qE "Isr: $2\s"
}
unclean() {
  refused 'EligibleLeadersNotAvailable|PreferredLeaderNotAvailable|could not be elected' elect preferred --topic tools-unclean --partition 0
  matches 'Successfully completed leader election \(UNCLEAN\) for partitions tools-unclean-0' "$(elect unclean --topic tools-unclean --partition 0)"
  leaders tools-unclean 3
  refused 'EligibleLeadersNotAvailable|could not be elected' elect unclean --topic tools-one --partition 1
  write tools-unclean 5
}
unclean_joined() {
  isr tools-unclean 3,2 || isr tools-unclean 2,3
  equal "tools-unclean:0:15" "$(at kafka-get-offsets --topic tools-unclean --time -1)"
}

conf=$'default.replication.factor=3\nauto.leader.rebalance.enable=false\ngroup.initial.rebalance.delay.ms=0'
export BROKER_CONF=$conf KAFKA_CONF=$conf
start_cluster "$work/cluster" "$port"
check "kafka-topics creates topics" make_topics
load_begins
check "load flows" load_goes_on
eventually "kafka-topics: nothing is amiss" lists_of_whole
check "kafka-cluster cluster-id" cluster_id
check "kafka-cluster list-endpoints" endpoints 1:unfenced 2:unfenced 3:unfenced
check "kafka-broker-api-versions of three" api_versions 1 2 3
check "kafka-features describe" features
check "kafka-configs of several brokers" configs
check "kafka-metadata-quorum describe --status" voters
check "kafka-metadata-quorum describe --replication" replication 1 2 3
check "kafka-log-dirs" directories
check "kafka-replica-verification" verification
check "kafka-reassign-partitions" reassignments
check "kafka-cluster unregister of nobody" unregister_unknown

kill_node 2
eventually "broker 2 down: kafka-topics lists what that costs" lists_without_2
check "broker 2 down: kafka-cluster list-endpoints" endpoints 1:unfenced 2:fenced 3:unfenced
check "broker 2 down: kafka-broker-api-versions of two" api_versions 1 3
check "broker 2 down: kafka-leader-election preferred is refused" preferred_down
eventually "broker 2 down: kafka-metadata-quorum describe --replication" replication 1 3
check "broker 2 down: kafka-log-dirs of it is refused" refused 'brokers do not exist.*2' at kafka-log-dirs --describe --broker-list 1,2,3
check "broker 2 down: load goes on" load_goes_on
start_node 2
eventually "broker 2 back: kafka-topics: nothing is amiss" lists_of_whole
check "broker 2 back: kafka-leader-election preferred" preferred_lead

leader=$(quorum_leader) epoch=$(status | field LeaderEpoch)
kill_node "$leader"
eventually "controller down: kafka-metadata-quorum describe --status" another_leads "$leader" "$epoch"
start_node "$leader"
eventually "controller back: kafka-topics: nothing is amiss" lists_of_whole

stop_node 3
eventually "broker 3 stopped: kafka-cluster unregister" unregistered
start_node 3
eventually "broker 3 back: kafka-cluster list-endpoints" endpoints 1:unfenced 2:unfenced 3:unfenced
eventually "broker 3 back: kafka-topics: nothing is amiss" lists_of_whole
check "load went through it all, and nothing of it is lost or doubled" load_ends
eventually "kafka-log-dirs: replicas are of one size" directories_agree

check "a replica that is not in sync is left" without_leader
eventually "kafka-topics lists it as unavailable" listed unavailable tools-one-1 tools-pair-1 tools-unclean-0
check "kafka-leader-election unclean" unclean
start_node 2
eventually "the other replica gives up what only it had" unclean_joined

[ "$failed" = 0 ] || { KEEP=1; die "$failed failed on $broker"; }
say "all on $broker"
