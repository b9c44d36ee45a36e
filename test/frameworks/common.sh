# What the frameworks' scripts share beside test/lib.sh. Source it from a script that has set -euo pipefail.
#   records port bootstrap cache    as run.sh says them
#   start_broker, crash_broker      the broker under test; killed with -9 and started again
#   launch NAME COMMAND...          a program in the background, its words in $work/NAME.log; sets pid
#   kill_hard PID                   kills it and its children with -9
#   stop PID                        with SIGTERM; fails where it does not end soon
#   await WHAT COMMAND...           until COMMAND succeeds; fails where program $pid ends first, or after five minutes
#   equal WANT GOT                  true where the two files are equal; leaves what differs for fail to show
#   fail MESSAGE                    says it, what differed, and the last lines of every log
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
records=${RECORDS:-100000} port=${PORT:-19792}
bootstrap=127.0.0.1:$port
cache=${XDG_CACHE_HOME:-$HOME/.cache}/moldau-frameworks
export KAFKA_HEAP=512m
# What is compacted is compacted within the run: frameworks read their configs, offsets and changelogs back from what is left.
export KAFKA_CONF=$'log.roll.ms=2000\nlog.cleaner.backoff.ms=1000\nlog.cleaner.min.cleanable.ratio=0.01'
export BROKER_CONF=$KAFKA_CONF
mkdir -p "$cache"

install() { # PACKAGE: of Debian
  local sudo=''; [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get install -y -qq --no-install-recommends "$1" >&2 || { $sudo apt-get update -qq; $sudo apt-get install -y -qq --no-install-recommends "$1" >&2; }
}
command -v kcat >/dev/null || install kcat
"$kafka" install >/dev/null

start_broker() {
  if [ "${BROKER:-moldau}" = kafka ]; then
    start_kafka "$work/broker" "$port"
  else
    [ -n "${moldau:-}" ] || build_moldau
    start_moldau "$work/broker" "$port"
  fi
}

crash_broker() {
  kill_hard "$broker_pid"
  start_broker
}

launch() { # NAME COMMAND...
  local name=$1; shift
  nice "$@" >>"$work/$name.log" 2>&1 &
  pid=$!
  started+=("$pid")
}

kill_hard() { # PID
  local children; children=$(pgrep -P "$1" || true)
  kill -9 "$1" $children 2>/dev/null || true # a child may have ended meanwhile
  wait "$1" 2>/dev/null || true
  while kill -0 "$1" 2>/dev/null; do sleep 0.1; done # Apache Kafka is not a child of this shell
}

stop() { # PID
  local pid=$1
  kill "$pid"
  await "end of the framework" ended
}

await() { # WHAT COMMAND...
  local what=$1 deadline=$((SECONDS + 300)); shift
  until "$@"; do
    if ended && ! "$@"; then fail "the framework ended before there was $what"; fi
    [ "$SECONDS" -lt "$deadline" ] || fail "no $what after five minutes"
    sleep 1
  done
}
ended() { ! kill -0 "$pid" 2>/dev/null; }

equal() { # WANT GOT
  diff "$1" "$2" >"$work/difference" && rm "$work/difference"
}

fail() { # MESSAGE
  local log
  for log in "$work"/*.log "$work"/broker/*.log; do
    [ -s "$log" ] && { say "-- $(basename "$log")"; tail -25 "$log" | cut -c1-400 >&2; }
  done
  [ -s "$work/difference" ] && { say "-- wanted <, got >"; head -10 "$work/difference" >&2; }
  die "$1"
}

create_topic() { # NAME PARTITIONS
  "$kafka" kafka-topics --bootstrap-server "$bootstrap" --create --topic "$1" --partitions "$2" >/dev/null
}

produce() { # BOOTSTRAP TOPIC [OPTIONS...]: lines of key, tab, value
  local at=$1 topic=$2; shift 2
  kcat -P -b "$at" -t "$topic" -K $'\t' -X acks=all "$@"
}

fetch() { # BOOTSTRAP TOPIC FORMAT: all that the topic holds, each partition in its order
  timeout 120 kcat -C -b "$1" -t "$2" -o beginning -e -q -X check.crcs=true -f "$3" 2>>"$work/kcat.log"
}

# events prints lines of key, tab, value, the same every time: 500 keys, and values with a number of their own and an amount.
events() { # COUNT
  awk -v n="$1" 'BEGIN { x = 1; for (i = 1; i <= n; i++) { x = x * 16807 % 2147483647; printf "k%03d\t%d %d\n", x % 500, i, int(x / 1000) % 1000 } }'
}
part() { # FILE FROM TO: its lines from FROM to TO hundredths
  awk -v from="$2" -v to="$3" -v n="$(wc -l <"$1")" 'NR > n * from / 100 && NR <= n * to / 100' "$1"
}
