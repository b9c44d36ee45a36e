# One function a client: it installs the client, exercises it, and writes what it could do to $results/CLIENT.tsv.
# Sourced by run.sh, which sets bootstrap, records, run, cache, results, work, judge, kafka and kill_every, builds $work/kgo, and has crash_broker.

did() { printf '%s\t%s\n' "$2" "${3:-yes}" >>"$results/$1.tsv"; } # CLIENT FEATURE [WORD]
name() { printf '%s' "$2" >"$results/$1.name"; }
note() { local client=$1; shift; echo "- $*" >>"$results/$client.notes"; } # CLIENT WORDS
fetched() { # TOPIC: everything in it, as the judge reads it
  timeout 300 kcat -C -b "$bootstrap" -t "$1" -o beginning -e -q -X check.crcs=true -X fetch.message.max.bytes=2097152 -f "$("$judge" format)"
}
packages() { # DEBIAN-PACKAGE...: installs what is missing
  dpkg -s "$@" >/dev/null 2>&1 && return
  local sudo=''; [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get install -y -qq --no-install-recommends "$@" || { $sudo apt-get update -qq; $sudo apt-get install -y -qq --no-install-recommends "$@"; }
}
needs() { command -v "$1" >/dev/null || packages "$2"; } # COMMAND DEBIAN-PACKAGE
java_home() { # the directory of java and javac
  local java; java=$(ls /usr/lib/jvm/temurin-*/bin/java 2>/dev/null | tail -1 || true)
  dirname "$(readlink -f "${java:-$(command -v java)}")"
}

# library has a program do all its verbs, and the judge judge. Before it come, as variables of the caller:
#   idempotence=no    the client has no idempotent producer      without=pause   what else it does not offer, with commas
#   codecs="..."      the codecs it has                          make=(...)      more arguments of judge make
#   compare=-empty-is-null     how it reads is not how it writes; then franz-go reads what it wrote too
#   consumer_protocol=yes      it has the consumer protocol of KIP-848
#   hand_over=-at-least-once   it cannot hand partitions over without reading some records again
#   undisturbed=alone          no broker is killed while it does its verb positions
library() { # CLIENT COMMAND...
  local client=$1 codec last idempotent again written topic want=$work/$1.want; shift
  local -a make=("${make[@]}") list
  read -ra list <<<"${codecs:-none gzip snappy lz4 zstd}"
  last=${list[-1]}
  "$judge" make -n "$records" "${make[@]}" "$want"
  for codec in "${list[@]}"; do
    topic=$run-$client-$codec
    idempotent=true; [ "$codec" = gzip ] && idempotent=false
    CODEC=$codec timeout 600 "$@" produce "$bootstrap" "$topic" "$codec" "$idempotent" "$want"
    if [ "$codec" = "$last" ]; then crash_broker "$topic"; fi
    [ "${idempotence:-}" != no ] || idempotent=false
    again=$(doubles "$idempotent") written=$records
    [ -z "$again" ] || written=$("$work/kgo" count "$bootstrap" "$topic")
    CODEC=$codec timeout 600 "$@" consume "$bootstrap" "$topic" "$written" "$want.got"
    "$judge" compare ${compare:-} $again "$want" "$want.got"
    if [ -n "${compare:-}" ]; then # then it is for another client to see that all was written
      "$work/kgo" consume "$bootstrap" "$topic" "$written" "$want.got"
      "$judge" compare $again "$want" "$want.got"
    fi
    rm -f "$want.got"
    [ "$codec" = "$last" ] || "$work/kgo" delete "$bootstrap" "$topic"
  done
  local f; for f in "create topic" text JSON binary keys headers nulls "near the limit" "reads back"; do did "$client" "$f"; done
  did "$client" codecs "${list[*]}"
  if [ "${idempotence:-}" = no ]; then did "$client" idempotent -; else did "$client" idempotent; fi
  crash_survived "$client"
  if [ -n "$again" ]; then # then it is for another client to write each record once
    topic=$run-$client-once
    "$work/kgo" produce "$bootstrap" "$topic" "$last" true "$want"
  fi
  local times; read -ra times < <("$judge" times "$want")
  CODEC=$last ${undisturbed:-} timeout 300 "$@" positions "$bootstrap" "$topic" "$topic-positions" "${times[@]}" >"$work/$client.positions"
  "$judge" positions -without "${without:-}" "$want" <"$work/$client.positions" >>"$results/$client.tsv"
  group "$client" "$@"
  timeout 300 "$@" recreate "$bootstrap" "$run-$client-recreated" >"$work/$client.recreated"
  "$judge" recreate <"$work/$client.recreated" >>"$results/$client.tsv"
  "$work/kgo" delete "$bootstrap" "$topic"
  rm -f "$want"
}

# doubles says how to judge what a producer wrote: one that is not idempotent may write again what a killed broker did not acknowledge.
doubles() { # IDEMPOTENT
  if [ "$kill_every" -gt 0 ] && [ "$1" = false ]; then echo -at-least-once; fi
}

# group has members come and go, by each protocol that the client has: the program's verb member, or what does as it does.
group() { # CLIENT COMMAND...
  local client=$1 protocol topic; shift
  for protocol in classic ${consumer_protocol:+consumer}; do
    topic=$run-$client-$protocol
    "$judge" group ${hand_over:-} "$work/kgo" load "$bootstrap" "$topic" -- "$@" member "$bootstrap" "$topic" "$topic" "$protocol" |
      sed "s/^group/group, $protocol/" >>"$results/$client.tsv"
  done
  [ -n "${consumer_protocol:-}" ] || did "$client" "group, consumer" -
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
  local consumer_protocol=yes
  client_java 4.4.0
  java_groups 4.4.0
}
client_java_4_3_1() { local consumer_protocol=yes; client_java 4.3.1; }
java_groups() { # VERSION: groups by regular expression, with a static member, and one on its way from one protocol to the other
  local version=$1 bin jars=$cache/java-$1
  bin=$(java_home)
  "$bin/javac" -d "$work/java-$version" -cp "$jars/*" "$here/java/Group.java"
  timeout 600 "$bin/java" -Xmx700m -cp "$work/java-$version:$jars/*" Group "$bootstrap" "$run-java-groups" "$records" classic consumer pattern upgrade
}
client_java_3_9_1() { client_java 3.9.1; }
client_java_2_8_2() { client_java 2.8.2; }

client_python() { # CLIENT NAME PROGRAM REQUIREMENT...
  local client=$1 program=$here/python/$3 venv=$cache/python-$1
  name "$client" "$2"; shift 3
  [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
  if [ "$(cat "$venv/.done" 2>/dev/null)" != "$*" ]; then
    "$venv/bin/pip" install -q "$@"
    echo "$*" >"$venv/.done"
  fi
  library "$client" "$venv/bin/python" "$program"
}
client_confluent_kafka() { local consumer_protocol=yes; client_python confluent-kafka "confluent-kafka 2.16.0 (Python)" with_confluent.py confluent-kafka==2.16.0; }
client_kafka_python() {
  local make=(-no-null-headers -key-or-value)
  client_python kafka-python "kafka-python 3.0.12" with_kafka_python.py kafka-python==3.0.12 lz4 zstandard python-snappy
  note kafka-python "kafka-python writes no header without a value, and no record that has neither a key nor a value."
}
client_aiokafka() {
  local make=(-key-or-value)
  client_python aiokafka "aiokafka 0.14.0" with_aiokafka.py aiokafka==0.14.0 cramjam
  note aiokafka "aiokafka writes no record that has neither a key nor a value."
}

client_go() { # CLIENT PROGRAM MODULE NAME
  name "$1" "$4 $(cd "$here/go" && go list -m -f '{{.Version}}' "$3" | tr -d v)${5:-}"
  (cd "$here/go" && go build -o "$work/go-$2" "./$2")
  library "$1" "$work/go-$2"
}
client_franz_go() { local consumer_protocol=yes; client_go franz-go kgo github.com/twmb/franz-go franz-go; }
client_sarama() { client_go sarama sarama github.com/IBM/sarama sarama ", newest version"; }
client_sarama_2_8() { export SARAMA_VERSION=2.8.0; client_go sarama-2.8 sarama github.com/IBM/sarama sarama ", V2_8_0_0"; }
client_kafka_go() {
  local idempotence=no without=pause compare=-empty-is-null
  client_go kafka-go segmentio github.com/segmentio/kafka-go segmentio/kafka-go
  note kafka-go "segmentio/kafka-go reads what is empty as null; what it writes another client reads right."
}
client_confluent_kafka_go() {
  needs gcc gcc
  export CGO_ENABLED=1
  local consumer_protocol=yes
  client_go confluent-kafka-go confluent github.com/confluentinc/confluent-kafka-go/v2 confluent-kafka-go
}

# npm_install keeps packages in a directory of their own.
npm_install() { # NAME PACKAGE...
  local dir=$cache/npm-$1; shift
  [ "$(cat "$dir/.done" 2>/dev/null)" = "$*" ] && return
  mkdir -p "$dir"
  (cd "$dir" && npm i --silent "$@")
  echo "$*" >"$dir/.done"
}
# node24 is what has zstd, and what the newest clients need.
node24=$cache/npm-node24/node_modules/.bin/node
client_kafkajs() {
  name kafkajs "KafkaJS 2.2.4"
  npm_install node24 node@24
  npm_install kafkajs kafkajs@2.2.4 kafkajs-snappy kafkajs-lz4
  local make=(-no-null-headers)
  if [ "$kill_every" -gt 0 ]; then
    local hand_over=-at-least-once undisturbed=alone
    local -x READS_AGAIN=yes
    note kafkajs "KafkaJS begins again at what it has committed when the coordinator of its group is lost, with Apache Kafka too: records are read again, and what" \
      "seek and pause said is forgotten, so no broker is killed while these are tried."
  fi
  NODE_PATH=$cache/npm-kafkajs/node_modules NODE24=$node24 library kafkajs bash -c '
    node=node; [ "${CODEC:-}" = zstd ] && node=$NODE24
    exec "$node" "$@"' node "$here/js/kafkajs.js"
  note kafkajs "KafkaJS writes no header without a value, and reads in groups only; zstd is Node's own, 22.15 or newer."
}
client_confluent_kafka_javascript() {
  name confluent-kafka-javascript "confluent-kafka-javascript 1.10.1"
  packages libssl-dev libsasl2-dev libzstd-dev liblz4-dev libcurl4-openssl-dev zlib1g-dev
  CKJS_LINKING=dynamic npm_install confluent @confluentinc/kafka-javascript@1.10.1
  local make=(-no-null-headers) consumer_protocol=yes
  note confluent-kafka-javascript "confluent-kafka-javascript writes no header without a value."
  NODE_PATH=$cache/npm-confluent/node_modules library confluent-kafka-javascript node "$here/js/confluent.js"
}
client_platformatic() {
  name platformatic "@platformatic/kafka 2.12.1"
  npm_install node24 node@24
  npm_install platformatic @platformatic/kafka@2.12.1
  local without=pause hand_over=-at-least-once consumer_protocol=yes
  note platformatic "@platformatic/kafka delivers what a fetch brings under way while the group rebalances: some records are read again."
  NODE_PATH=$cache/npm-platformatic/node_modules library platformatic "$node24" "$here/js/platformatic.js"
}

client_rdkafka() {
  name rdkafka "rdkafka 0.39.0 (Rust)"
  needs cmake cmake; needs g++ g++
  packages libssl-dev libcurl4-openssl-dev
  (cd "$here/rust" && CARGO_TARGET_DIR=$cache/rust nice cargo build -q --release --locked -j1)
  local consumer_protocol=yes
  library rdkafka "$cache/rust/release/conform"
}

client_kcat() {
  name kcat "kcat (librdkafka)"
  needs kcat kcat
  name kcat "$(kcat -V 2>/dev/null | sed -n 's/.*Version \([^ ]*\) .*librdkafka \([^ ]*\).*/kcat \1 (librdkafka \2)/p')"
  auto_create=true crash_broker
  local codec topic dir=$work/kcat lines=$work/kcat.lines want=$work/kcat.want
  local opts=(-b "$bootstrap" -X acks=all -X message.max.bytes=1048588 -X enable.idempotence=true)
  "$judge" make -n "$records" -partitions 1 -text "$want"
  "$judge" lines "$want" >"$lines"
  for codec in none gzip snappy lz4 zstd; do
    topic=$run-kcat-$codec
    local idempotent=true; [ "$codec" = gzip ] && idempotent=false
    timeout 300 kcat -P "${opts[@]}" -X enable.idempotence=$idempotent -t "$topic" -p 0 -z "$codec" -K $'\t' -l "$lines"
    if [ "$codec" = zstd ]; then auto_create=true crash_broker "$topic"; fi
    fetched "$topic" | "$judge" kcat -no-times $(doubles "$idempotent") "$want"
  done
  did kcat "create topic" "by writing to it"; did kcat text; did kcat keys; did kcat codecs "none gzip snappy lz4 zstd"; did kcat idempotent; did kcat "reads back"; crash_survived kcat
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
  # A group reads one half, and goes on with the other.
  for n in $((records / 2)) $((records - records / 2)); do
    timeout 120 kcat -b "$bootstrap" -X auto.offset.reset=earliest -G "$run-kcat-group" -c "$n" -q -f '%o\n' "$run-kcat-none"
  done | cmp - <(seq 0 $((records - 1)))
  did kcat "group, classic" "one after the other"; did kcat "group, consumer" -
  note kcat "kcat drops the record in its hand when a signal ends it, so no two of them share a group here."
  kcat_positions
  crash_broker "$run-kcat-positions"
  recreated kcat kcat_writes kcat -C -b "$bootstrap" -X auto.offset.reset=earliest -o beginning -q -u -f 'record %p %o %s\n' -t
}

# kcat_writes spreads lines over three partitions. Its reader knows no topic ids: where the old topic had fewer records in a partition than the new
# one, it goes on in the middle of the new one, on Apache Kafka as well.
kcat_writes() { # TOPIC
  local p lines; lines=$(cat)
  for p in 0 1 2; do awk -v p="$p" 'NR % 3 == p' <<<"$lines" | kcat -P -b "$bootstrap" -X enable.idempotence=true -t "$1" -p "$p"; done
}

# kcat_positions seeks and looks up times in a topic whose times are known: kcat writes no time but now.
kcat_positions() {
  local p at topic=$run-kcat-positions
  "$judge" make -n "$records" "$want"
  "$work/kgo" produce "$bootstrap" "$topic" zstd true "$want"
  for p in 0 1 2; do
    timeout 60 kcat -C -b "$bootstrap" -t "$topic" -p "$p" -o 100 -c 1 -q -f 'seek %p %o\n'
    for at in $("$judge" times "$want"); do
      timeout 60 kcat -Q -b "$bootstrap" -t "$topic:$p:$at" | awk -v p="$p" -v at="$at" '{print "time", at, p, $NF}'
    done
  done >"$work/kcat.positions"
  printf '%s\n' "- pause" "- lag" >>"$work/kcat.positions"
  "$judge" positions -without pause,lag "$want" <"$work/kcat.positions" >>"$results/kcat.tsv"
}

# recreated deletes a topic under the feet of a consumer of the command line, and creates it again. It may have to be started anew to read on.
recreated() { # CLIENT WRITE READ...; WRITE gets the topic as argument and its records as lines, READ the topic
  local client=$1 write=$2 topic=$run-$1-recreated printed=$work/$1.recreated reader; shift 2
  seen() { # N: that many records were printed, or the reader has ended
    for _ in $(seq 1200); do
      [ "$(grep -c ^record "$printed")" -ge "$1" ] && return
      kill -0 "$reader" 2>/dev/null || return 1
      sleep 0.1
    done
    return 1
  }
  "$work/kgo" create "$bootstrap" "$topic"
  seq -f 'old-%.0f' 0 299 | "$write" "$topic"
  : >"$printed"
  "$@" "$topic" >>"$printed" & reader=$!
  seen 300 || { kill -9 "$reader"; return 1; }
  "$work/kgo" delete "$bootstrap" "$topic"
  "$work/kgo" create "$bootstrap" "$topic"
  echo recreated >>"$printed"
  seq -f 'new-%.0f' 0 29 | "$write" "$topic"
  if ! seen 330; then
    kill -9 "$reader" 2>/dev/null || true
    echo reopened >>"$printed"
    "$@" "$topic" >>"$printed" & reader=$!
    seen 330 || { kill -9 "$reader"; return 1; }
  fi
  kill -9 "$reader" 2>/dev/null || true
  "$judge" recreate <"$printed" >>"$results/$client.tsv"
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
    if [ "$n" = zstd ]; then crash_broker "$t"; fi
    tool kafka-console-consumer $at --topic "$t" --partition 0 --offset earliest --max-messages "$records" --timeout-ms 60000 \
      --formatter-property print.key=true --formatter-property print.headers=true >"$out/read"
    cmp "$out/lines" "$out/read"
  done
  did kafka-tools text; did kafka-tools keys; did kafka-tools headers; did kafka-tools idempotent; did kafka-tools "reads back"
  did kafka-tools codecs "none gzip snappy lz4 zstd"
  did kafka-tools binary "-"
  crash_survived kafka-tools
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
  note kafka-tools "The console tools write to a topic of one partition, and only text: values are lines."
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
  kafka_tools_positions
  local consumer_protocol=yes
  group kafka-tools "$here/console.sh"
  recreated kafka-tools kafka_tools_write kafka_tools_read
}

kafka_tools_write() { tool kafka-console-producer $at --topic "$1" >"$out/produced"; }
kafka_tools_read() {
  exec "$kafka" kafka-console-consumer $at --topic "$1" --from-beginning --formatter-property print.partition=true \
    --formatter-property print.offset=true > >(sed -u 's/Partition:\([0-9]*\)\tOffset:\([0-9]*\)\t/record \1 \2 /')
}

# kafka_tools_positions seeks and looks up times in a topic whose times are known, and tells the lag of a group.
kafka_tools_positions() {
  local p time t=$run-tools-positions g=$run-positions
  "$judge" make -n "$records" "$want"
  "$work/kgo" produce "$bootstrap" "$t" zstd true "$want"
  for p in 0 1 2; do
    tool kafka-console-consumer $at --topic "$t" --partition "$p" --offset 100 --max-messages 1 --timeout-ms 60000 --formatter-property print.partition=true \
      --formatter-property print.offset=true --formatter-property print.value=false | sed 's/Partition:\([0-9]*\)\tOffset:/seek \1 /'
    tool kafka-consumer-groups $at --reset-offsets --group "$g" --topic "$t:$p" --to-offset $((50 * (p + 1))) --execute >"$out/reset"
  done >"$out/positions"
  for time in $("$judge" times "$want"); do
    tool kafka-get-offsets $at --topic "$t" --time "$time" | awk -F: -v at="$time" '
      $3 != "" {found[$2] = $3} END {for (p = 0; p < 3; p++) print "time", at, p, p in found ? found[p] : -1}'
  done >>"$out/positions"
  tool kafka-consumer-groups $at --describe --group "$g" | awk -v t="$t" '$2==t {print "lag", $3, $4, $5, $6}' >>"$out/positions"
  echo "- pause" >>"$out/positions"
  "$judge" positions -without pause "$want" <"$out/positions" >>"$results/kafka-tools.tsv"
}
