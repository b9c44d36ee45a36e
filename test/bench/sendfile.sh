#!/usr/bin/env bash
# sendfile.sh shows that a fetch leaves the broker by sendfile: it counts system calls under strace during raw fetches.
# Needs strace (installed with apt where it is missing) and the right to trace. PORT: 19262.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
port=${PORT:-19262}
build_moldau
(cd "$root/test/bench" && go build -o "$work/bench" .)
command -v strace >/dev/null || apt-get install -y --no-install-recommends strace >/dev/null || { apt-get update >/dev/null; apt-get install -y --no-install-recommends strace >/dev/null; }
start_moldau "$work/broker" "$port"
"$work/bench" reqs -brokers "127.0.0.1:$port" -api produce -topic raw -records 1000 -duration 2s >/dev/null
strace -f -c -o "$work/calls" -e trace=sendfile,read,pread64,write,writev -p "$broker_pid" 2>/dev/null &
tracer=$!
for _ in $(seq 100); do grep -q "^TracerPid:	*[1-9]" "/proc/$broker_pid/status" && break; sleep 0.05; done
"$work/bench" reqs -brokers "127.0.0.1:$port" -api fetch -topic raw -conns 2 -depth 2 -duration 3s >"$work/fetch.json"
kill -INT "$tracer"; wait "$tracer" || true
cat "$work/calls"
answers=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["extra"]["requests"])' "$work/fetch.json")
calls=$(awk '$NF=="sendfile" {print $4}' "$work/calls")
echo "$answers answers of 1 MB, ${calls:-0} sendfile calls"
[ "${calls:-0}" -ge "$answers" ] || die "fewer sendfile calls than answers"
