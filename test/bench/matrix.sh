#!/bin/sh
# matrix.sh BENCH BROKERS PID [REPS] runs the standard set against a broker and prints JSON lines;
# `bench summary` turns them into a table of medians. A repetition writes up to 27 GB (times RF; use SECONDS_PER_RUN=4 with RF=3)
# and deletes each load when it is done with it; Apache Kafka frees the space a minute later (file.delete.delay.ms).
# It stops where DISK (a path on the brokers' disk, default /) has less than 20 GB free.
# LOADS ("reqs e2e") leaves out every other command. Loads with consumer groups are left out where the broker has none, or where NO_GROUPS is set.
set -u
bench=$1 brokers=$2 pid=$3 reps=${4:-3} rf=${RF:-1} seconds=${SECONDS_PER_RUN:-8}s
run() {
	case " ${LOADS:-$1} delete " in *" $1 "*) ;; *) return 0 ;; esac
	[ "$(df --output=avail -BG "${DISK:-/}" | tail -1 | tr -dc 0-9)" -ge 20 ] || { echo "matrix.sh: less than 20 GB free" >&2; exit 1; }
	timeout 180 "$bench" "$@" -brokers "$brokers" -pid "$pid" -rf "$rf"
}
gone() { for name; do run delete -topic "$name"; done; }
groups() { [ -z "${NO_GROUPS:-}" ] && "$bench" serves -brokers "$brokers" -key 11 2>/dev/null; }

for rep in $(seq "$reps"); do
	t=m$$-$rep
	run produce -topic "$t-1k" -partitions 6 -size 1024 -duration "$seconds"
	run consume -topic "$t-1k"
	run produce -topic "$t-100" -partitions 6 -size 100 -duration "$seconds"
	run produce -topic "$t-idem" -partitions 6 -size 1024 -idempotent -duration "$seconds"
	run produce -topic "$t-lz4" -partitions 6 -size 1024 -compression lz4 -random 0.5 -duration "$seconds"
	gone "$t-100" "$t-idem" "$t-lz4"
	run produce -topic "$t-rate" -partitions 6 -size 1024 -rate 20000 -linger 1ms -duration "$seconds"
	run reqs -api produce -topic "$t-raw" -partitions 6 -conns 2 -depth 4 -records 1000 -duration "$seconds"
	run reqs -api produce -topic "$t-raw64" -partitions 6 -conns 2 -depth 8 -records 64 -duration "$seconds"
	run reqs -api produce -topic "$t-raw1" -partitions 6 -conns 2 -depth 32 -records 1 -duration "$seconds"
	run reqs -api produce -topic "$t-one" -partitions 6 -conns 1 -depth 1 -records 1 -duration "$seconds"
	# 2 GB, written just before: what a broker has written above, and with it what is still in the page cache, depends on its speed.
	run reqs -api produce -topic "$t-get" -partitions 2 -conns 2 -depth 4 -records 1000 -requests 1000 >/dev/null
	run reqs -api fetch -topic "$t-get" -conns 2 -depth 2 -duration "$seconds"
	gone "$t-raw" "$t-get"
	run reqs -api apiversions -topic "$t-1k" -conns 2 -depth 64 -duration "$seconds"
	run reqs -api metadata -topic "$t-1k" -conns 2 -depth 64 -duration "$seconds"
	groups && run reqs -api offsetcommit -topic "$t-1k" -conns 2 -depth 8 -duration "$seconds"
	run e2e -topic "$t-e2e" -partitions 6 -rate 1000 -duration 12s
	run e2e -topic "$t-e2e" -partitions 6 -rate 10000 -duration 12s -linger 1ms
	if groups; then
		run fanout -topic "$t-fan" -partitions 6 -groups 4 -records 300000
		run fanout -topic "$t-fanr" -partitions 6 -groups 4 -records 60000 -rate 5000 -linger 1ms -warmup 2s
	fi
	run partitions -topic "$t-p" -count 1000
	run partitions -topic "$t-p" -count 5000
	gone "$t-"
done
