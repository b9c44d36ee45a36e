#!/usr/bin/env bash
# run.sh [CLIENT...] has real clients of other people write to a broker and read back what they wrote.
# Clients: those of everyone below (default: all). Each is installed here, and does what package conform under go/ says.
#   RECORDS=100000        records that each client writes with each codec
#   BOOTSTRAP=HOST:PORT   a broker that runs already; else BROKER=moldau (default) or kafka is started. PORT: 19492
#   NODES=3               three brokers, and three replicas of everything, instead of one
#   KILL_EVERY=20         with three: one after the other is killed every 20 s with SIGKILL, and started again DOWN_FOR=3 seconds later
#   RESULTS=DIR           what each client did; with it a run may be continued: if no clients are named, those that passed there on
#                         this commit are left out
#   DOC=FILE              where the table of clients and features goes; docs/conformance.md if all clients passed on Moldau
# Exit status 1 where anything failed. A client that fails does not stop the others.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/../lib.sh"
records=${RECORDS:-100000} port=${PORT:-19492} run=c$$
nodes=${NODES:-1}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/moldau-conformance
results=${RESULTS:-$work/results}
commit=$(git -C "$root" describe --always --dirty --exclude '*')
source "$here/clients.sh"
source "$here/../cluster/lib.sh"
source "$here/brokers.sh"
mkdir -p "$cache" "$results"
everyone=(kcat kafka-tools java-4.4.0 java-4.3.1 java-3.9.1 java-2.8.2 confluent-kafka kafka-python aiokafka
  franz-go sarama sarama-2.8 kafka-go confluent-kafka-go kafkajs confluent-kafka-javascript platformatic rdkafka)
passed_here() { [ -f "$results/$1.passed" ] && [ "$(cat "$results/$1.commit")" = "$commit" ]; }
clients=("$@")
if [ $# = 0 ]; then
  for client in "${everyone[@]}"; do passed_here "$client" || clients+=("$client"); done
fi
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

case $nodes in 1) [ "$kill_every" = 0 ] || die "KILL_EVERY takes NODES=3" ;; 3) export REPLICAS=3 ;; *) die "NODES is 1 or 3" ;; esac
[ "$broker" = kafka ] && [ "$nodes" = 1 ] || [ -n "${BOOTSTRAP:-}" ] || build_moldau
if [ -n "${BOOTSTRAP:-}" ]; then
  broker=$BOOTSTRAP bootstrap=$BOOTSTRAP nodes=1
else
  start_brokers
fi
if [ "$kill_every" -gt 0 ]; then kill_in_turn "$results/kills"; fi

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

# what_broker names what the clients wrote to.
what_broker() {
  if [ "$nodes" = 1 ]; then echo "$broker"; return; fi
  printf '%s, three nodes, three replicas of everything' "$broker"
  if [ "$kill_every" -gt 0 ]; then
    printf '; every %s s one of them was killed with SIGKILL, each in turn, and started again %s s later.\n' "$kill_every" "$down_for"
    kills_told "$results/kills"
  else
    echo .
  fi
}

table() {
  echo "$records records with each codec, read back and compared byte for byte, with the last codec after"
  if [ "$nodes" = 1 ]; then echo "a kill -9 of the broker."; else echo "a kill -9 of a broker that led."; fi
  echo "Broker: $(what_broker)"
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

# document is the page, of which this run writes one part and keeps the other.
document() {
  cat <<'X'
# Clients

Written by `test/conformance/run.sh`.

- by timestamp, seek, pause, lag: offsets are looked up by time; reading goes on from another offset; a partition pauses while others are
  read; what was committed and how far that is from the end.
- group: while records are written two members share a topic, one leaves and comes back, the other leaves, all leave, one goes on:
  every record is read, and none twice.
- recreated topic: a topic is deleted and created again while one producer writes to it and one consumer reads it; both go on.
- "-": the client does not offer it.
X
  local n title
  for n in 1 3; do
    title="## One broker"; [ "$n" = 1 ] || title="## Three brokers"
    if [ "$n" = "$nodes" ]; then
      printf '\n%s\n\n' "$title"
      table
    else
      kept_part "$title"
    fi
  done
}
kept_part() { # TITLE
  [ ! -f "$doc" ] || awk -v title="$1" '
    /^## / {on = $0 == title; blank = "\n"}
    on && $0 == "" {blank = blank "\n"}
    on && $0 != "" {printf "%s%s\n", blank, $0; blank = ""}' "$doc"
}
doc=${DOC:-}
if [ -z "$doc" ] && [ "$broker" = moldau ] && all_passed; then doc=$root/docs/conformance.md; fi
if [ -n "$doc" ]; then
  mkdir -p "$(dirname "$doc")"
  document >"$work/doc"
  cp "$work/doc" "$doc"
fi
table
exit "$status"
