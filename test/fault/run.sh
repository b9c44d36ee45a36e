#!/usr/bin/env bash
# run.sh has three nodes lose each other, their disks and their lives under load, and judges what clients were promised and what the
# replicas hold. One after the other about 10 min.
#   SEED=1             which nodes fail and when
#   SECONDS=300        how long faults happen, all scenarios together
#   SCENARIOS="a,b"    some scenarios, by their names
#   SCHEDULES=100      instead of the scenarios so many random schedules of a minute, from SEED on. RESULTS (test/fault/results) keeps a line for
#                      each in schedules.tsv; what has a line for this commit is not run again, so an interrupted run goes on. What is
#                      left of one that fails is kept there
#   LIMIT=9m           when to end at the latest, 30 min or 5 h where it is not set; status 3 where schedules are left then
#   LINKS=no           on loopback, without the faults of links and full disks
# PORT: 19392 and up. Where a scenario fails, the history, the data and the logs stay, and their place is printed.
# The network is made of namespaces that end with the program, and the program with this script.
seconds=$(printenv SECONDS || echo 300) # which bash would count up
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
port=${PORT:-19392} results=${RESULTS:-$root/test/fault/results} schedules=${SCHEDULES:-0}
limit=${LIMIT:-$([ "$schedules" = 0 ] && echo 30m || echo 5h)}
build_moldau
(cd "$root" && go test -tags fault ./internal/vfs >&2 && go build -tags fault -o "$work/faulty" ./cmd/moldau && go build -o "$work/run" ./test/fault)
commit=$(git -C "$root" rev-parse --short HEAD)
git -C "$root" diff --quiet HEAD -- cmd internal test go.mod || commit+="+$(git -C "$root" diff HEAD -- cmd internal test go.mod | sha256sum | cut -c1-7)"
conf=$'offsets.topic.num.partitions=4\ngroup.initial.rebalance.delay.ms=0'"${BROKER_CONF:+$'\n'$BROKER_CONF}"
for id in 1 2 3; do
  KAFKA_CONF=$conf "$kafka" properties "$work" "$port" 3 "$id" >"$work/node$id.properties"
done

alone=(setpriv --pdeathsig KILL unshare --net --mount --pid --fork --kill-child --mount-proc)
networked() { # whether this machine permits a network of our own
  [ "${LINKS:-}" != no ] && [ "$(id -u)" = 0 ] && command -v ip nsenter setpriv unshare >/dev/null || return
  command -v nft >/dev/null || apt-get install -y -qq --no-install-recommends nftables >/dev/null 2>&1 || return
  "${alone[@]}" sh -c 'ip link add name wire type bridge && [ -c /dev/net/tun ] && nft list tables' >/dev/null 2>&1
}
run=("$work/run") where=()
if networked; then run=("${alone[@]}" "$work/run") where=(-isolated); fi
mkdir -p "$results"
status=0
"${run[@]}" "${where[@]}" -moldau "$moldau" -faulty "$work/faulty" -dir "$work" -port "$port" -commit "$commit" -limit "$limit" -seed "${SEED:-1}" \
  -seconds "$seconds" -scenarios "${SCENARIOS:-}" -schedules "$schedules" -results "$results/schedules.tsv" || status=$?
[ "$status" = 0 ] || [ "$schedules" != 0 ] || KEEP=1
exit "$status"
