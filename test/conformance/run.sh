#!/usr/bin/env bash
# run.sh [CLIENT...] has real clients of other people write to a broker and read back what they wrote.
# Clients: kcat kafka-tools java-4.4.0 java-2.8.2 confluent-kafka franz-go kafkajs (default: all). Each is installed here.
#   RECORDS=100000        records that each client writes with each codec
#   BOOTSTRAP=HOST:PORT   a broker that runs already; else BROKER=moldau (default) or kafka is started. PORT: 19492
#   DOC=FILE              where the table of clients and features goes; docs/conformance.md if all clients ran on Moldau
# Exit status 1 where anything failed. A client that fails does not stop the others.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/../lib.sh"
source "$here/clients.sh"
records=${RECORDS:-100000} port=${PORT:-19492} run=c$$
cache=${XDG_CACHE_HOME:-$HOME/.cache}/moldau-conformance
results=$work/results
mkdir -p "$cache" "$results"
everyone=(kcat kafka-tools java-4.4.0 java-2.8.2 confluent-kafka franz-go kafkajs)
clients=("${@/%java-4.4/java-4.4.0}"); [ $# -gt 0 ] || clients=("${everyone[@]}")
for client in "${clients[@]}"; do
  [[ " ${everyone[*]} " == *" $client "* ]] || die "no client $client; there are ${everyone[*]}"
done
for client in "${clients[@]}"; do : >"$results/$client.tsv"; done

judge=$work/judge
(cd "$root" && go build -o "$judge" ./test/conformance/judge)
broker=${BROKER:-moldau}
if [ -n "${BOOTSTRAP:-}" ]; then
  broker=$BOOTSTRAP
elif [ "$broker" = kafka ]; then
  start_kafka "$work/broker" "$port"
else
  build_moldau
  start_moldau "$work/broker" "$port"
fi
bootstrap=${BOOTSTRAP:-127.0.0.1:$port}

status=0
for client in "${clients[@]}"; do
  say "== $client"
  begun=$SECONDS
  # A subshell in the background: the first command that fails ends this client and none else (in an if, set -e is void).
  (trap - EXIT; set -e; client_"${client//[-.]/_}") >"$results/$client.log" 2>&1 &
  if wait $!; then
    say "   passed in $((SECONDS - begun)) s"
  else
    status=1
    echo "FAILED" >"$results/$client.failed"
    say "   FAILED after $((SECONDS - begun)) s:"
    tail -15 "$results/$client.log" >&2
  fi
done

table() {
  echo "# Clients"
  echo
  echo "Written by \`test/conformance/run.sh\` ($records records with each codec, read back and compared byte for byte)."
  echo "What is read back is read by assignment. group: members of a group read every record once, one goes on where another has left."
  echo "\"-\": the client's interface cannot say it, or the suite does not ask it."
  echo
  local features=("create topic" text JSON binary keys headers nulls "near the limit" codecs idempotent "by timestamp" "reads back" group)
  printf '| client | result |'; printf ' %s |' "${features[@]}"; echo
  printf '| --- | --- |'; printf ' --- |%.0s' "${features[@]}"; echo
  local client f v
  for client in "${clients[@]}"; do
    v=passed; [ -f "$results/$client.failed" ] && v=FAILED
    printf '| %s | %s |' "$(cat "$results/$client.name" 2>/dev/null || echo "$client")" "$v"
    for f in "${features[@]}"; do
      v=$(awk -F'\t' -v f="$f" '$1==f {print $2}' "$results/$client.tsv" 2>/dev/null | tail -1)
      [ "$f" = group ] && v=${v:--}
      printf ' %s |' "${v:-not reached}"
    done
    echo
  done
  if [ -s "$results/notes" ]; then echo; sort -u "$results/notes"; fi
}
doc=${DOC:-}
if [ -z "$doc" ] && [ $# -eq 0 ] && [ "$broker" = moldau ] && [ "$status" = 0 ]; then doc=$root/docs/conformance.md; fi
if [ -n "$doc" ]; then
  mkdir -p "$(dirname "$doc")"
  table >"$doc"
fi
table
exit "$status"
