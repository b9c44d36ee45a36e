# One function a client: it installs the client, exercises it, and writes what it could do to $results/CLIENT.tsv.
# Sourced by run.sh, which sets bootstrap, records, run, cache, results, work, judge and kafka.

did() { printf '%s\t%s\n' "$2" "${3:-yes}" >>"$results/$1.tsv"; } # CLIENT FEATURE [WORD]
name() { printf '%s' "$2" >"$results/$1.name"; }
note() { echo "- $*" >>"$results/notes"; }
fetched() { # TOPIC: everything in it, as the judge reads it
  timeout 300 kcat -C -b "$bootstrap" -t "$1" -o beginning -e -q -X check.crcs=true -X fetch.message.max.bytes=2097152 -f "$("$judge" format)"
}
install_kcat() {
  command -v kcat >/dev/null && return
  local sudo=''; [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get install -y --no-install-recommends kcat || { $sudo apt-get update; $sudo apt-get install -y --no-install-recommends kcat; }
}
java_home() { # the directory of java and javac
  local java; java=$(ls /usr/lib/jvm/temurin-*/bin/java 2>/dev/null | tail -1 || true)
  dirname "$(readlink -f "${java:-$(command -v java)}")"
}

# library runs COMMAND BOOTSTRAP TOPIC CODEC IDEMPOTENT WANT GOT for every codec; it makes, writes, reads, and looks up.
library() { # CLIENT COMMAND...
  local client=$1 codec idempotent want=$work/$1.want; shift
  "$judge" make -n "$records" "$want"
  for codec in none gzip snappy lz4 zstd; do
    idempotent=true; [ "$codec" = gzip ] && idempotent=false
    timeout 600 "$@" "$bootstrap" "$run-$client-$codec" "$codec" "$idempotent" "$want" "$want.got"
    "$judge" compare "$want" "$want.got"
    rm -f "$want.got"
  done
  local f; for f in "create topic" text JSON binary keys headers nulls "near the limit" idempotent "by timestamp" "reads back"; do did "$client" "$f"; done
  did "$client" codecs "none gzip snappy lz4 zstd"
  rm -f "$want"
}

client_java() { # VERSION
  local version=$1 bin jars=$cache/java-$1
  name "java-$version" "Java kafka-clients $version"
  bin=$(java_home)
  if [ ! -f "$jars/.done" ]; then
    mvn -q -B -f "$here/java/pom.xml" -Dkafka.version="$version" dependency:copy-dependencies -DoutputDirectory="$jars"
    touch "$jars/.done"
  fi
  mkdir -p "$work/java-$version"
  "$bin/javac" -d "$work/java-$version" -cp "$jars/*" "$here/java/Conform.java"
  library "java-$version" "$bin/java" -Xmx700m -cp "$work/java-$version:$jars/*" Conform
}
client_java_4_4_0() {
  client_java 4.4.0
  java_groups 4.4.0
}
java_groups() { # VERSION: groups of both protocols, by regular expression, and one on its way from one to the other
  local version=$1 bin jars=$cache/java-$1
  bin=$(java_home)
  "$bin/javac" -d "$work/java-$version" -cp "$jars/*" "$here/java/Group.java"
  timeout 600 "$bin/java" -Xmx700m -cp "$work/java-$version:$jars/*" Group "$bootstrap" "$run-java-groups" "$records" classic consumer pattern upgrade
  did "java-$version" group "classic and consumer"
}
client_java_2_8_2() { client_java 2.8.2; }

client_confluent_kafka() {
  name confluent-kafka "confluent-kafka 2.16.0 (Python)"
  [ -x "$cache/venv/bin/python" ] || python3 -m venv "$cache/venv"
  "$cache/venv/bin/python" -c 'import confluent_kafka as c; assert c.version()[0]=="2.16.0"' 2>/dev/null ||
    "$cache/venv/bin/pip" install -q confluent-kafka==2.16.0
  library confluent-kafka "$cache/venv/bin/python" "$here/python/conform.py"
  did confluent-kafka group "classic and consumer"
}

client_franz_go() {
  name franz-go "franz-go 1.22.2"
  (cd "$here/kgo" && go build -o "$work/kgo" .)
  library franz-go "$work/kgo"
  did franz-go group "classic and consumer"
}

client_kafkajs() {
  name kafkajs "KafkaJS 2.2.4"
  install_kcat
  [ -d "$cache/kafkajs/node_modules/kafkajs-lz4" ] || (mkdir -p "$cache/kafkajs" && cd "$cache/kafkajs" && npm i --silent kafkajs@2.2.4 kafkajs-snappy kafkajs-lz4)
  local codec done_codecs='' want=$work/kafkajs.want got status
  "$judge" make -n "$records" -no-null-headers "$want"
  for codec in none gzip snappy lz4 zstd; do
    local idempotent=true; [ "$codec" = gzip ] && idempotent=false
    status=0
    NODE_PATH=$cache/kafkajs/node_modules timeout 600 node "$here/kafkajs/conform.js" "$bootstrap" "$run-kafkajs-$codec" "$codec" "$idempotent" "$want" "$records" || status=$?
    if [ "$status" = 3 ]; then note "KafkaJS: no zstd, which needs a Node that has it (22.15)."; continue; fi
    [ "$status" = 0 ]
    fetched "$run-kafkajs-$codec" | "$judge" kcat "$want"
    done_codecs+="${done_codecs:+ }$codec"
  done
  local f; for f in "create topic" text JSON binary keys headers nulls "near the limit" idempotent; do did kafkajs "$f"; done
  did kafkajs codecs "$done_codecs"
  did kafkajs "by timestamp" "not tried"
  did kafkajs "reads back" "by kcat"
  did kafkajs group
  note "KafkaJS writes no header without a value, and reads in groups only, which tell no times."
}

client_kcat() {
  name kcat "kcat (librdkafka)"
  install_kcat
  name kcat "$(kcat -V 2>/dev/null | sed -n 's/.*Version \([^ ]*\) .*librdkafka \([^ ]*\).*/kcat \1 (librdkafka \2)/p')"
  local codec topic dir=$work/kcat lines=$work/kcat.lines want=$work/kcat.want
  local opts=(-b "$bootstrap" -X acks=all -X message.max.bytes=1048588)
  "$judge" make -n "$records" -partitions 1 -text "$want"
  "$judge" lines "$want" >"$lines"
  for codec in none gzip snappy lz4 zstd; do
    topic=$run-kcat-$codec
    local idempotent=true; [ "$codec" = gzip ] && idempotent=false
    timeout 300 kcat -P "${opts[@]}" -X enable.idempotence=$idempotent -t "$topic" -p 0 -z "$codec" -K $'\t' -l "$lines"
    fetched "$topic" | "$judge" kcat -no-times "$want"
  done
  did kcat "create topic" "by writing to it"; did kcat text; did kcat keys; did kcat codecs "none gzip snappy lz4 zstd"; did kcat idempotent; did kcat "reads back"
  # Whole files as values: JSON, binary and near the limit, with headers.
  topic=$run-kcat-files
  "$judge" blobs "$dir" "$want"
  timeout 120 kcat -P "${opts[@]}" -t "$topic" -p 0 -H a=1 -H b=zwei "$dir"/*
  fetched "$topic" | "$judge" kcat -no-times "$want"
  did kcat JSON; did kcat binary; did kcat headers; did kcat "near the limit"
  topic=$run-kcat-null
  printf 'k\t\nl\tv\n' | timeout 60 kcat -P "${opts[@]}" -t "$topic" -p 0 -K $'\t' -Z
  [ "$(timeout 60 kcat -C -b "$bootstrap" -t "$topic" -o beginning -e -q -f '%k %S;')" = "k -1;l 1;" ]
  did kcat nulls
  # The time of some record leads to the first record that is as young.
  topic=$run-kcat-none
  timeout 120 kcat -C -b "$bootstrap" -t "$topic" -p 0 -o beginning -e -q -f '%T %o\n' >"$work/kcat.times"
  local at wanted got
  at=$(awk -v n=$((records / 2 + 1)) 'NR==n {print $1}' "$work/kcat.times")
  wanted=$(awk -v t="$at" '$1>=t {print $2; exit}' "$work/kcat.times")
  got=$(timeout 60 kcat -Q -b "$bootstrap" -t "$topic:0:$at" | awk '{print $NF}')
  [ "$got" = "$wanted" ] || { echo "time $at: offset $got instead of $wanted"; return 1; }
  did kcat "by timestamp"
  # A group reads one half, and goes on with the other.
  for n in $((records / 2)) $((records - records / 2)); do
    timeout 120 kcat -b "$bootstrap" -X auto.offset.reset=earliest -G "$run-kcat-group" -c "$n" -q -f '%o\n' "$run-kcat-none"
  done | cmp - <(seq 0 $((records - 1)))
  did kcat group
}

client_kafka_tools() {
  name kafka-tools "Apache Kafka's tools 4.3.1"
  local topic=$run-tools at="--bootstrap-server $bootstrap" out=$work/tools want=$work/tools.want n
  mkdir -p "$out"
  tool() { timeout 300 "$kafka" "$@"; }
  tool kafka-topics $at --create --topic "$topic" --partitions 1 --config retention.ms=-1
  tool kafka-topics $at --list >"$out/list"; grep -qx "$topic" "$out/list"
  tool kafka-topics $at --describe --topic "$topic" >"$out/describe"; grep -q "PartitionCount: 1" "$out/describe"; grep -q "Leader: [0-9]" "$out/describe"
  did kafka-tools "create topic"
  tool kafka-configs $at --entity-type topics --entity-name "$topic" --alter --add-config max.message.bytes=1048588,segment.bytes=16777216
  tool kafka-configs $at --entity-type topics --entity-name "$topic" --describe >"$out/configs"; grep -q "segment.bytes=16777216" "$out/configs"
  tool kafka-configs $at --entity-type topics --entity-name "$topic" --alter --delete-config segment.bytes
  tool kafka-configs $at --entity-type brokers --entity-default --describe >"$out/brokers"
  "$judge" make -n "$records" -partitions 1 -text "$want"
  "$judge" lines "$want" | awk -F'\t' 'NR%5==0 {print "h:" NR ",i:x\t" $0; next} {print "n:1\t" $0}' >"$out/lines"
  for n in none gzip snappy lz4 zstd; do
    [ "$n" = none ] || tool kafka-topics $at --create --topic "$topic-$n" --partitions 1
    local t=$topic-$n; [ "$n" = none ] && t=$topic
    tool kafka-console-producer $at --topic "$t" --compression-codec "$n" --command-property acks=all --command-property enable.idempotence=true \
      --reader-property parse.key=true --reader-property parse.headers=true <"$out/lines" >"$out/produced"
    tool kafka-console-consumer $at --topic "$t" --partition 0 --offset earliest --max-messages "$records" --timeout-ms 60000 \
      --formatter-property print.key=true --formatter-property print.headers=true >"$out/read"
    cmp "$out/lines" "$out/read"
  done
  did kafka-tools text; did kafka-tools keys; did kafka-tools headers; did kafka-tools idempotent; did kafka-tools "reads back"
  did kafka-tools codecs "none gzip snappy lz4 zstd"
  did kafka-tools binary "-"
  tool kafka-topics $at --create --topic "$topic-more" --partitions 1
  { printf 'k\tNIL\n'; printf 'j\t{"id":1,"text":"\\"x\\" č"}\n'; printf 'big\t'; head -c 1047000 /dev/zero | tr '\0' x; echo; } >"$out/more"
  tool kafka-console-producer $at --topic "$topic-more" --reader-property parse.key=true --reader-property null.marker=NIL <"$out/more" >"$out/produced"
  tool kafka-console-consumer $at --topic "$topic-more" --partition 0 --offset earliest --max-messages 3 --timeout-ms 60000 \
    --formatter-property print.key=true --formatter-property null.literal=NIL >"$out/read"
  cmp "$out/more" "$out/read"
  did kafka-tools nulls; did kafka-tools JSON; did kafka-tools "near the limit"
  kafka_tools_offsets
}

# kafka_tools_offsets looks offsets up, deletes records, grows and deletes a topic, and runs the performance test.
kafka_tools_offsets() {
  local t=$topic last
  offsets() { tool kafka-get-offsets $at --topic "$1" --time "$2" | awk -F: '{s+=$3} END {print s+0}'; }
  [ "$(offsets "$t" -1)" = "$records" ]; [ "$(offsets "$t" -2)" = 0 ]; [ "$(offsets "$t" 0)" = 0 ]
  last=$(offsets "$t" -3); [ "$last" -le "$records" ]; [ "$last" -gt 0 ]
  did kafka-tools "by timestamp"
  echo "{\"version\":1,\"partitions\":[{\"topic\":\"$t\",\"partition\":0,\"offset\":$((records / 2))}]}" >"$out/delete.json"
  tool kafka-delete-records $at --offset-json-file "$out/delete.json" >"$out/deleted"
  grep -q "low_watermark: $((records / 2))" "$out/deleted"
  [ "$(offsets "$t" -2)" = $((records / 2)) ]
  tool kafka-console-consumer $at --topic "$t" --partition 0 --offset earliest --max-messages 1 --timeout-ms 60000 \
    --formatter-property print.key=true --formatter-property print.headers=true >"$out/read"
  sed -n "$((records / 2 + 1))p" "$out/lines" | cmp - "$out/read"
  tool kafka-topics $at --alter --topic "$t" --partitions 3
  tool kafka-topics $at --describe --topic "$t" >"$out/describe"; grep -q "PartitionCount: 3" "$out/describe"
  tool kafka-topics $at --create --topic "$t-perf" --partitions 3
  tool kafka-producer-perf-test --bootstrap-server "$bootstrap" --topic "$t-perf" --num-records "$records" --record-size 512 --throughput -1 >"$out/perf"
  tail -1 "$out/perf"
  [ "$(offsets "$t-perf" -1)" = "$records" ]
  tool kafka-topics $at --delete --topic "$t-perf"
  note "The console tools write to a topic of one partition, and only text: values are lines."
  kafka_tools_group
}

# kafka_tools_group reads in two halves as a group, and does to that group what can be done.
kafka_tools_group() {
  local t=$topic-gzip g=$run-group n
  for n in $((records / 2)) $((records - records / 2)); do
    tool kafka-console-consumer $at --topic "$t" --group "$g" --from-beginning --max-messages "$n" --timeout-ms 60000 \
      --formatter-property print.key=true --formatter-property print.headers=true
  done >"$out/read"
  cmp "$out/lines" "$out/read"
  tool kafka-consumer-groups $at --list >"$out/groups"; grep -qx "$g" "$out/groups"
  at_offset() { # CURRENT LAG
    tool kafka-consumer-groups $at --describe --group "$g" >"$out/group"
    awk -v t="$t" -v current="$1" -v lag="$2" '$2==t {found=1; if ($4!=current || $6!=lag) exit 1} END {exit !found}' "$out/group"
  }
  at_offset "$records" 0
  tool kafka-consumer-groups $at --describe --group "$g" --state >"$out/state"; grep -q Empty "$out/state"
  tool kafka-consumer-groups $at --reset-offsets --group "$g" --topic "$t" --to-offset 7 --execute >"$out/reset"
  at_offset 7 $((records - 7))
  tool kafka-consumer-groups $at --delete-offsets --group "$g" --topic "$t" >"$out/offsets"
  tool kafka-consumer-groups $at --reset-offsets --group "$g" --topic "$t" --to-latest --execute >"$out/reset"
  tool kafka-consumer-groups $at --delete --group "$g" >"$out/deleted-group"
  tool kafka-consumer-groups $at --list >"$out/groups"; ! grep -qx "$g" "$out/groups"
  did kafka-tools group
}
