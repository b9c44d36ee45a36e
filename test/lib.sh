# What the suites' scripts share. Source it from a script that has set -euo pipefail.
#   root          the repository
#   work          a directory of this run, removed at its end (KEEP=1 keeps it)
#   build_moldau  sets moldau to the binary: BROKER_BIN if that is set, else built from this tree
#   start_moldau DIR PORT     starts a broker from the server.properties that Kafka would get; sets broker_pid
#   start_kafka DIR PORT      starts Apache Kafka there; sets broker_pid
#   start_moldau_cluster DIR PORT, start_kafka_cluster DIR PORT   three nodes on PORT and the two after it; set broker_pids, comma-separated
#   stop_broker PID           SIGTERM, then SIGKILL after 30 s
#   $work/pid, $work/pid.*    name more processes to stop at the end, for brokers that a subshell starts anew
# BROKER_CONF and KAFKA_CONF (no MOLDAU_ name, which the broker would read) are lines added to the properties. Every process that was started ends with the script.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
kafka=$root/test/kafka/kafka.sh
work=$(mktemp -d "${TMPDIR:-/tmp}/moldau-test.XXXXXX")
started=()

say() { printf '%s\n' "$*" >&2; }
die() { say "$(basename "$0"): $*"; exit 1; }

finish() {
  local status=$? pid
  for pid in "${started[@]}"; do stop_broker "$pid"; done # who starts brokers anew comes before them
  for pid in $(cat "$work"/pid "$work"/pid.* 2>/dev/null); do stop_broker "$pid"; done
  if [ -n "${KEEP:-}" ]; then say "kept $work"; else rm -rf "$work"; fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

build_moldau() {
  moldau=${BROKER_BIN:-}
  if [ -z "$moldau" ]; then
    moldau=$root/bin/moldau
    (cd "$root" && go build -o "$moldau" ./cmd/moldau)
  fi
}

wait_port() { # PORT PID LOG
  for _ in $(seq 600); do
    if (echo >"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return 0; fi
    kill -0 "$2" 2>/dev/null || { tail -20 "$3" >&2; die "the broker for port $1 ended"; }
    sleep 0.1
  done
  tail -20 "$3" >&2
  die "nothing listens on port $1 after 60 s"
}

moldau_properties() { # DIR PORT
  mkdir -p "$1"
  KAFKA_CONF="${BROKER_CONF:-}" "$kafka" properties "$1" "$2" 1 1 >"$1/server.properties"
}

start_moldau() { # DIR PORT
  moldau_properties "$1" "$2"
  "$moldau" server --config "$1/server.properties" >>"$1/moldau.log" 2>&1 &
  broker_pid=$!
  started+=("$broker_pid")
  wait_port "$2" "$broker_pid" "$1/moldau.log"
}

start_kafka() { # DIR PORT
  local out
  out=$("$kafka" start "$1" "$2")
  broker_pid=$(sed -n 's/^pids //p' <<<"$out")
  started+=("$broker_pid")
}

start_moldau_cluster() { # DIR PORT
  local id
  mkdir -p "$1" && broker_pids=
  for id in 1 2 3; do
    KAFKA_CONF="${BROKER_CONF:-}" "$kafka" properties "$1" "$2" 3 "$id" >"$1/node$id.properties"
    "$moldau" server --config "$1/node$id.properties" >>"$1/node$id.log" 2>&1 &
    started+=("$!") broker_pids+=${broker_pids:+,}$!
  done
  for id in 1 2 3; do wait_port $(($2 + id - 1)) "${started[-1]}" "$1/node$id.log"; done
  for _ in $(seq 150); do
    if "$moldau" cluster health -b "127.0.0.1:$2" >/dev/null 2>&1; then return; fi
    sleep 0.2
  done
  die "the nodes on port $2 are no cluster after 30 s"
}

start_kafka_cluster() { # DIR PORT
  local out
  out=$("$kafka" start "$1" "$2" 3)
  broker_pids=$(sed -n 's/^pids //p' <<<"$out")
  started+=(${broker_pids//,/ })
}

stop_broker() { # PID
  kill "$1" 2>/dev/null || return 0
  for _ in $(seq 300); do kill -0 "$1" 2>/dev/null || return 0; sleep 0.1; done
  kill -9 "$1" 2>/dev/null || true
}
