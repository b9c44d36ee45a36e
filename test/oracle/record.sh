#!/usr/bin/env bash
# record.sh [check] starts Apache Kafka 4.3.1, records its answers into testdata, and checks that two more runs get the
# same ones. With "check" it only compares. About 90 s. PORT: 19942.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
port=${PORT:-19942}
cd "$root"
go test -c -o "$work/oracle.test" ./test/oracle
start_kafka "$work/kafka" "$port"
export MOLDAU_BOOTSTRAP=127.0.0.1:$port ORACLE_REFERENCE=1
cd test/oracle
if [ "${1:-}" != check ]; then "$work/oracle.test" -test.v -record; fi
for _ in 1 2; do "$work/oracle.test" -test.v; done
