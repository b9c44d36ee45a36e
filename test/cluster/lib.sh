# Three nodes of Moldau or of Apache Kafka as processes. Source it after test/lib.sh; $broker is moldau or kafka, and build_moldau was called: its
# moldau cluster health looks after both.
#   start_cluster DIR PORT    starts three nodes at PORT to PORT+2, or starts them anew, and waits until they are whole; sets bootstrap
#   start_node ID, kill_node ID, stop_node ID     one of them, which any subshell may do; to be killed is SIGKILL
#   alone COMMAND...          runs it while nobody else does so
#   cluster_whole             tells whether all nodes are there, and all replicas in sync
#   wait_until SECONDS COMMAND...     runs a command again and again until it succeeds
#   kill_in_turn FILE         has a process kill one after the other, every KILL_EVERY seconds, and start it DOWN_FOR seconds later
#   kills_told FILE           says what came of it
kill_every=${KILL_EVERY:-0} down_for=${DOWN_FOR:-3}

cluster_properties() { # DIR PORT
  local id
  mkdir -p "$1"
  for id in 1 2 3; do
    if [ "$broker" != kafka ]; then local -x KAFKA_CONF=${BROKER_CONF:-}; fi
    "$kafka" properties "$1" "$2" 3 "$id" >"$1/node$id.properties"
  done
}

start_cluster() { # DIR PORT
  local id pids
  cluster=$1 cluster_port=$2
  bootstrap=127.0.0.1:$2,127.0.0.1:$(($2 + 1)),127.0.0.1:$(($2 + 2))
  if [ "$broker" = kafka ]; then
    IFS=, read -ra pids < <("$kafka" start "$1" "$2" 3 8>&- | sed -n 's/^pids //p')
    for id in 1 2 3; do echo "${pids[id - 1]}" >"$work/pid.$id"; done
  else
    cluster_properties "$1" "$2"
    for id in 1 2 3; do start_node "$id"; done
  fi
  wait_until 60 cluster_whole || die "the cluster is not whole after 60 s: $("$moldau" cluster health -b "$bootstrap" 2>&1)"
}

start_node() { # ID
  if [ "$broker" = kafka ]; then
    "$kafka" again "$cluster" "$1" 8>&- | sed -n 's/^pid //p' >"$work/pid.$1"
    return
  fi
  "$moldau" server --config "$cluster/node$1.properties" >>"$cluster/node$1.log" 2>&1 8>&- &
  echo $! >"$work/pid.$1"
  disown $! # that it is killed is no news
}

kill_node() { # ID
  kill -9 "$(cat "$work/pid.$1")" 2>/dev/null || true
  while (echo >"/dev/tcp/127.0.0.1/$((cluster_port + $1 - 1))") 2>/dev/null; do sleep 0.05; done
}

stop_node() { stop_broker "$(cat "$work/pid.$1")"; } # ID

# Descriptor 8 holds the lock; no node inherits it.
alone() { (exec 8>"$work/alone"; flock 8; "$@"); }

wait_until() { # SECONDS COMMAND...
  local end=$((SECONDS + $1)); shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.2
  done
}

cluster_whole() { "$moldau" cluster health -b "$bootstrap" --timeout 4s >/dev/null 2>&1; }

# kill_in_turn leaves a line for each kill in FILE: when, who, whether all replicas were in sync then, and how many seconds after the start
# they were again ("-": not before the next kill).
kill_in_turn() { # FILE
  kills=$1
  (trap - EXIT; set +e; trap 'kill $(jobs -p) 2>/dev/null; exit' TERM; kills_without_end) &
  started+=($!)
}
kills_without_end() {
  local id=0 next=$((SECONDS + kill_every)) whole begun
  while :; do
    rest $((next - SECONDS))
    next=$((next + kill_every)) id=$((id % 3 + 1)) whole=whole
    cluster_whole || whole=broken
    alone kill_for_a_while "$id"
    begun=$SECONDS
    if wait_until $((next - SECONDS)) cluster_whole; then
      echo "$(date -u +%H:%M:%S) $id $whole $((SECONDS - begun))"
    else
      echo "$(date -u +%H:%M:%S) $id $whole -"
    fi >>"$kills"
  done
}
rest() { if [ "$1" -gt 0 ]; then sleep "$1" & wait $!; fi; } # SECONDS, which SIGTERM cuts short
kill_for_a_while() { # ID
  kill_node "$1"
  sleep "$down_for"
  start_node "$1"
}

# kills_told says how often brokers were killed, and how long the replicas took to be in sync again.
kills_told() { # FILE
  awk '{n++; if ($3 == "broken") broken++; if ($4 == "-") late++; else took[++m] = $4; if ($4 > longest) longest = $4}
    END {
      if (!n) {print "No kill came."; exit}
      printf "%d kills, %d of them while replicas were not in sync. After a start all replicas were in sync within %d s; before the next kill they were not %d times.\n",
        n, broken, longest, late
    }' "$1" 2>/dev/null || echo "No kill came."
}
