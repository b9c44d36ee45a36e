#!/usr/bin/env bash
# run.sh [CLIENT...] has real clients of other people write to a broker and read back what they wrote.
# Clients: those of everyone below (default: all). Each is installed here, and does what package conform under go/ says.
#   RECORDS=100000        records that each client writes with each codec
#   BOOTSTRAP=HOST:PORT   a broker that runs already; else BROKER=moldau (default) or kafka is started. PORT: 19492
#   RESULTS=DIR           what each client did; with it a run may be continued, or repeated for some clients
#   DOC=FILE              where the table of clients and features goes; docs/conformance.md if all clients passed on Moldau
# Exit status 1 where anything failed. A client that fails does not stop the others.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/../lib.sh"
records=${RECORDS:-100000} port=${PORT:-19492} run=c$$
cache=${XDG_CACHE_HOME:-$HOME/.cache}/moldau-conformance
results=${RESULTS:-$work/results}
commit=$(git -C "$root" describe --always --dirty --exclude '*')
source "$here/clients.sh"
mkdir -p "$cache" "$results"
everyone=(kcat kafka-tools java-4.4.0 java-4.3.1 java-3.9.1 java-2.8.2 confluent-kafka kafka-python aiokafka
  franz-go sarama sarama-2.8 kafka-go confluent-kafka-go kafkajs confluent-kafka-javascript platformatic rdkafka)
clients=("$@"); [ $# -gt 0 ] || clients=("${everyone[@]}")
for client in "${clients[@]}"; do
  [[ " ${everyone[*]} " == *" $client "* ]] || die "no client $client; there are ${everyone[*]}"
done
[ "$(cat "$results/records" 2>/dev/null || echo "$records")" = "$records" ] || die "$results is of runs with $(cat "$results/records") records"
echo "$records" >"$results/records"
for client in "${clients[@]}"; do
  rm -f "$results/$client".*
  : >"$results/$client.tsv"
  echo "$commit" >"$results/$client.commit"
done

judge=$work/judge
(cd "$root" && go build -o "$judge" ./test/conformance/judge)
(cd "$here/go" && go build -o "$work/kgo" ./kgo)
broker=${BROKER:-moldau}

# start_broker starts it so that a deleted topic stays so: clients that ask for it would have it created. auto_create=true is for one that creates no other way.
start_broker() {
  local conf="auto.create.topics.enable=${auto_create:-false}"
  local -x BROKER_CONF=$conf KAFKA_CONF=$conf
  if [ "$broker" = kafka ]; then start_kafka "$work/broker" "$port"; else start_moldau "$work/broker" "$port"; fi
  started=()
  disown "$broker_pid" 2>/dev/null || true # that it is killed is no news
  echo "$broker_pid" >"$work/pid" # a client's subshell starts it anew
}
# crash_broker kills the broker with SIGKILL, if it is ours, and starts it on what it left; it is back when it serves TOPIC.
crash_broker() { # [TOPIC]
  [ -z "${BOOTSTRAP:-}" ] || return 0
  kill -9 "$(cat "$work/pid")"
  while (echo >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.05; done
  start_broker
  [ $# = 0 ] || "$work/kgo" ready "$bootstrap" "$1"
}
crash_survived() { # CLIENT
  if [ -z "${BOOTSTRAP:-}" ]; then did "$1" "kill -9"; else did "$1" "kill -9" "not tried"; fi
}
if [ -n "${BOOTSTRAP:-}" ]; then
  broker=$BOOTSTRAP
else
  [ "$broker" = kafka ] || build_moldau
  start_broker
fi
bootstrap=${BOOTSTRAP:-127.0.0.1:$port}

status=0
for client in "${clients[@]}"; do
  say "== $client"
  begun=$SECONDS
  # A subshell in the background: the first command that fails ends this client and none else (in an if, set -e is void).
  (trap - EXIT; set -e; client_"${client//[-.]/_}") >"$results/$client.log" 2>&1 &
  if wait $!; then
    touch "$results/$client.passed"
    say "   passed in $((SECONDS - begun)) s"
  else
    status=1
    say "   FAILED after $((SECONDS - begun)) s:"
    tail -15 "$results/$client.log" >&2
  fi
done

all_passed() {
  local client
  for client in "${everyone[@]}"; do [ -f "$results/$client.passed" ] || return 1; done
}

table() {
  echo "# Clients"
  echo
  echo "Written by \`test/conformance/run.sh\`: $records records with each codec, read back and"
  echo "compared byte for byte, with the last codec after a kill -9 of the broker. Broker: $broker."
  echo
  echo "- by timestamp, seek, pause, lag: offsets are looked up by time; reading goes on from another offset; a partition pauses while others are"
  echo "  read; what was committed and how far that is from the end."
  echo "- group: while records are written two members share a topic, one leaves and comes back, the other leaves, all leave, one goes on:"
  echo "  every record is read, and none twice."
  echo "- recreated topic: a topic is deleted and created again while one producer writes to it and one consumer reads it; both go on."
  echo "- \"-\": the client does not offer it."
  echo
  local features=("create topic" text JSON binary keys headers nulls "near the limit" codecs idempotent "reads back" "kill -9" "by timestamp" seek pause lag "group, classic" "group, consumer" "recreated topic")
  printf '| client | commit | result |'; printf ' %s |' "${features[@]}"; echo
  printf '| --- | --- | --- |'; printf ' --- |%.0s' "${features[@]}"; echo
  local client f v
  for client in "${everyone[@]}"; do
    [ -f "$results/$client.commit" ] || continue
    v=FAILED; [ -f "$results/$client.passed" ] && v=passed
    printf '| %s | %s | %s |' "$(cat "$results/$client.name" 2>/dev/null || echo "$client")" "$(cat "$results/$client.commit")" "$v"
    for f in "${features[@]}"; do
      v=$(awk -F'\t' -v f="$f" '$1==f {print $2}' "$results/$client.tsv" 2>/dev/null | tail -1)
      printf ' %s |' "${v:-not reached}"
    done
    echo
  done
  echo
  cat "$results"/*.notes 2>/dev/null | sort -u
}
doc=${DOC:-}
if [ -z "$doc" ] && [ "$broker" = moldau ] && all_passed; then doc=$root/docs/conformance.md; fi
if [ -n "$doc" ]; then
  mkdir -p "$(dirname "$doc")"
  table >"$doc"
fi
table
exit "$status"
