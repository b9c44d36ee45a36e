# The brokers that the clients write to, one or three, and what ends them. Sourced by run.sh, which sets broker, nodes and port,
# and builds $work/kgo.
#   start_brokers           starts them, and sets bootstrap
#   crash_broker [TOPIC]    kills and starts again what serves TOPIC

# start_brokers starts them so that a deleted topic stays so: clients that ask for it would have it created. auto_create=true is for one that creates no
# other way.
start_brokers() {
  local conf="auto.create.topics.enable=${auto_create:-false}"
  if [ "$nodes" = 3 ]; then conf+=$'\ndefault.replication.factor=3'; fi
  local -x BROKER_CONF=$conf KAFKA_CONF=$conf
  echo "${auto_create:-false}" >"$work/auto_create"
  if [ "$nodes" = 3 ]; then
    start_cluster "$work/broker" "$port"
    return
  fi
  if [ "$broker" = kafka ]; then start_kafka "$work/broker" "$port"; else start_moldau "$work/broker" "$port"; fi
  bootstrap=127.0.0.1:$port
  started=()
  disown "$broker_pid" 2>/dev/null || true # that it is killed is no news
  echo "$broker_pid" >"$work/pid" # a client's subshell starts it anew
}

# crash_broker kills the broker with SIGKILL, if it is ours, and starts it on what it left; it is back when it serves TOPIC. Of three it kills the one that
# leads a partition of TOPIC, or all where they have to be told another auto_create.
crash_broker() { # [TOPIC]
  [ -z "${BOOTSTRAP:-}" ] || return 0
  if [ "$nodes" = 1 ]; then
    kill -9 "$(cat "$work/pid")"
    while (echo >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.05; done
    start_brokers
  elif [ "${auto_create:-false}" != "$(cat "$work/auto_create")" ]; then
    alone crash_all
  else
    alone crash_leader "$1"
  fi
  [ $# = 0 ] || "$work/kgo" ready "$bootstrap" "$1"
}
crash_survived() { # CLIENT
  if [ -z "${BOOTSTRAP:-}" ]; then did "$1" "kill -9"; else did "$1" "kill -9" "not tried"; fi
}

crash_all() {
  local id
  for id in 1 2 3; do kill_node "$id"; done
  start_brokers
}
crash_leader() { # TOPIC
  local id; id=$("$work/kgo" leader "$bootstrap" "$1")
  kill_node "$id"
  start_node "$id"
}
