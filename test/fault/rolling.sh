#!/usr/bin/env bash
# rolling.sh restarts the brokers of a cluster of three in turn, each when the cluster is well, under applications of the Java client,
# librdkafka (confluent-kafka of Python) and franz-go, with default settings, and judges what these were told: no error, and something of
# every partition every second. About 2 min.
#   ROUNDS=3           how many times each broker is restarted
#   CLIENTS="java librdkafka"   beside franz-go
# PORT: 19392 and up. Where something fails the histories, the data and the logs stay, and their place is printed.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
port=${PORT:-19392} cache=${XDG_CACHE_HOME:-$HOME/.cache}/moldau-conformance here=$root/test/fault/rolling
build_moldau
(cd "$root" && go build -o "$work/run" ./test/fault)

client_java() {
  local jars=$cache/java-4.4.0 bin
  bin=$(ls /usr/lib/jvm/temurin-*/bin/java 2>/dev/null | tail -1 || true)
  bin=$(dirname "$(readlink -f "${bin:-$(command -v java)}")")
  if [ ! -f "$jars/.done" ]; then
    mvn -q -B -f "$root/test/conformance/java/pom.xml" -Dkafka.version=4.4.0 dependency:copy-dependencies -DoutputDirectory="$jars" >&2
    touch "$jars/.done"
  fi
  mkdir -p "$work/java"
  "$bin/javac" -d "$work/java" -cp "$jars/*" "$here/Rolling.java"
  command="$bin/java -Xmx256m -cp $work/java:$jars/* Rolling"
}
client_librdkafka() {
  local venv=$cache/python-confluent-kafka
  [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
  "$venv/bin/python" -c 'import confluent_kafka' 2>/dev/null || "$venv/bin/pip" install -q confluent-kafka==2.16.0
  command="$venv/bin/python $here/rolling.py"
}

applications=()
for client in ${CLIENTS-java librdkafka}; do
  "client_$client"
  applications+=(-with "$client=$command")
done
for id in 1 2 3; do
  KAFKA_CONF=${BROKER_CONF:-} "$kafka" properties "$work" "$port" 3 "$id" >"$work/node$id.properties"
done
status=0
"$work/run" -moldau "$moldau" -dir "$work" -port "$port" -rounds "${ROUNDS:-3}" "${applications[@]}" || status=$?
[ "$status" = 0 ] || KEEP=1
exit "$status"
