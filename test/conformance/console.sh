#!/usr/bin/env bash
# console.sh member BOOTSTRAP TOPIC GROUP PROTOCOL has Apache Kafka's console consumer be a member of a group, as the verb member of
# package conform: it prints "PARTITION OFFSET" of each record, and leaves when the standard input ends.
set -euo pipefail
kafka=$(dirname "$0")/../kafka/kafka.sh
timeouts=(--command-property session.timeout.ms=30000 --command-property heartbeat.interval.ms=500)
[ "$5" = classic ] || timeouts=()
"$kafka" kafka-console-consumer --bootstrap-server "$2" --topic "$3" --group "$4" --from-beginning \
  --command-property group.protocol="$5" "${timeouts[@]}" --formatter-property print.partition=true \
  --formatter-property print.offset=true --formatter-property print.value=false > >(sed -u 's/Partition:\([0-9]*\)\tOffset:/\1 /') &
consumer=$!
cat >/dev/null
kill "$consumer"
wait "$consumer" || [ $? = 143 ]
