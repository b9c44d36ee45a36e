#!/usr/bin/env bash
# run.sh gives a Moldau broker what it should refuse: on the socket, in its directories, in its configuration, on a full
# disk, and 10,000 idle connections. Each start that must fail gives one clear message and exit status 1 and touches no
# data. About 2 min. PORT: 19892 and up. CONNS: 10000. The full disk needs root (a tmpfs); without it that part is skipped.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
port=${PORT:-19892} failed=0
ulimit -n "$(ulimit -Hn)"
build_moldau
(cd "$root" && go build -o "$work/badinput" ./test/badinput)
(cd "$root/test/bench" && go build -o "$work/bench" .)

ok() { echo "ok     $*"; }
bad() { echo "FAILED $*"; failed=1; }
sums() { # what is data: indexes and checkpoints can be made again
  { find "$1" -type f ! -name '*.index' ! -name '*.timeindex' ! -name '*-checkpoint' ! -name '.lock' ! -name '.kafka_cleanshutdown' -exec md5sum {} + 2>/dev/null || true; } | sort
}

refuses() { # WHAT DIR WORDS COMMAND...: exit status 1, a message with these words (an extended regexp), DIR untouched
  local what=$1 dir=$2 words=$3 status=0 before after; shift 3
  before=$(sums "$dir")
  timeout 20 "$@" >"$work/out" 2>"$work/err" || status=$?
  after=$(sums "$dir")
  if [ "$status" != 1 ]; then bad "$what: exit status $status: $(tail -2 "$work/err")"; return; fi
  if ! grep -qiE "$words" "$work/err"; then bad "$what: the message does not say /$words/: $(tail -3 "$work/err")"; return; fi
  if grep -qE '^(panic|goroutine |\s+/.*\.go:[0-9])' "$work/err"; then bad "$what: a stack trace"; return; fi
  if [ "$before" != "$after" ]; then bad "$what: files were touched"; return; fi
  ok "$what: $(tail -1 "$work/err" | cut -c1-150)"
}

echo "## On the socket"
start_moldau "$work/socket" "$port"
"$work/badinput" -address "127.0.0.1:$port" -pid "$broker_pid" -log "$work/socket/moldau.log" || failed=1
"$work/bench" idle -brokers "127.0.0.1:$port" -pid "$broker_pid" -conns "${CONNS:-10000}" -hold 5s >"$work/idle.json" || failed=1
python3 -c 'import json,sys; e=json.load(open(sys.argv[1]))["extra"]; print("ok     %d idle connections: %.0f MB" % (e["connections"], e["rss_mb"])); sys.exit(e["rss_mb"]>200)' "$work/idle.json" ||
  bad "idle connections: more than 200 MB"

echo "## At the start"
config=$work/socket/server.properties
other=$work/other; moldau_properties "$other" $((port + 1))
sed "s|^log.dirs=.*|log.dirs=$work/socket/node1|" "$other/server.properties" >"$work/second.properties"
refuses "a second process on the same directory" "$other" 'in use|lock|another' "$moldau" server --config "$work/second.properties"
moldau_properties "$work/port" "$port"
refuses "a port in use" "$work/nothing" 'in use|:'"$port" "$moldau" server --config "$work/port/server.properties"
stop_broker "$broker_pid"

refuses "a config that is not there" "$work/socket/node1" 'no such|not found|cannot read|does not exist' "$moldau" server --config "$work/absent.properties"
refuses "a config that is a directory" "$work/socket/node1" 'directory' "$moldau" server --config "$work"
{ cat "$config"; echo 'log.retention.mss=5'; } >"$work/typo.properties"
refuses "an unknown name" "$work/socket/node1" 'log\.retention\.ms' "$moldau" server --config "$work/typo.properties"
{ cat "$config"; echo 'log.segment.bytes=lots'; } >"$work/value.properties"
refuses "a value that is no number" "$work/socket/node1" 'log\.segment\.bytes' "$moldau" server --config "$work/value.properties"
sed 's/^node.id=.*/node.id=7/; s/^controller.quorum.voters=1@/controller.quorum.voters=7@/' "$config" >"$work/node.properties"
refuses "a directory of another node" "$work/socket/node1" 'node' "$moldau" server --config "$work/node.properties"

damage() { # NAME COMMAND...: a copy of the directory, damaged by the command, which runs in it
  local dir=$work/$1; shift
  mkdir -p "$dir"; cp -a "$work/socket/node1" "$dir/node1"
  sed "s|$work/socket|$dir|" "$config" >"$dir/server.properties"
  (cd "$dir/node1" && "$@")
}
damage meta1 sh -c 'printf "\000\001\002rubbish" >meta.properties'
refuses "a meta.properties of rubbish" "$work/meta1/node1" 'meta\.properties' "$moldau" server --config "$work/meta1/server.properties"
damage meta2 sed -i '/^node.id/d' meta.properties
refuses "a meta.properties without a node" "$work/meta2/node1" 'meta\.properties' "$moldau" server --config "$work/meta2/server.properties"
damage meta3 sed -i 's/^moldau.format=.*/moldau.format=999/' meta.properties
refuses "a meta.properties of a later format" "$work/meta3/node1" 'format' "$moldau" server --config "$work/meta3/server.properties"
damage raft1 sh -c 'f=$(ls __cluster_metadata-0/*.log | head -1); printf "\377\377\377\377" | dd of="$f" bs=1 seek=30 conv=notrunc status=none'
refuses "a damaged metadata log" "$work/raft1/node1" 'metadata|corrupt|damage' "$moldau" server --config "$work/raft1/server.properties"

start_kafka "$work/kafka" $((port + 2))
stop_broker "$broker_pid"
sed "s|^node.id=.*|node.id=1|" "$work/kafka/node1.properties" >"$work/foreign.properties"
refuses "a directory with Apache Kafka's metadata" "$work/kafka/node1" 'kafka' "$moldau" server --config "$work/foreign.properties"

echo "## A full disk"
if [ "$(id -u)" = 0 ] && mkdir -p "$work/full/node1" && mount -t tmpfs -o size=${FULL_MB:-64}m tmpfs "$work/full/node1" 2>/dev/null; then
  trap 'umount -l "$work/full/node1" 2>/dev/null || true; finish' EXIT
  BROKER_CONF='log.segment.bytes=4194304' start_moldau "$work/full" $((port + 3))
  full_pid=$broker_pid
  "$work/badinput" -address "127.0.0.1:$((port + 3))" -full || failed=1
  kill -0 "$full_pid" 2>/dev/null && ok "the broker lives on" || bad "the broker ended"
  stop_broker "$full_pid"
  mount -o remount,size=256m "$work/full/node1"
  BROKER_CONF='log.segment.bytes=4194304' start_moldau "$work/full" $((port + 3))
  "$work/bench" consume -brokers "127.0.0.1:$((port + 3))" -topic full >"$work/full.json" && ok "with room again, everything is served after a restart" || bad "after a restart the topic is not served"
  "$work/bench" produce -brokers "127.0.0.1:$((port + 3))" -topic full -records 10 >"$work/full.json" && ok "and it can be written to" || bad "after a restart the topic cannot be written to"
  stop_broker "$broker_pid"
else
  echo "skipped: needs root and a tmpfs"
fi
exit "$failed"
