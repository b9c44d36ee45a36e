#!/usr/bin/env bash
# run.sh checks the recorded answers against Apache Kafka 4.3.1 itself (SKIP_KAFKA=1 leaves that out), and then asks a
# Moldau process of this tree the same. About 90 s. PORT: 19932.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
port=${PORT:-19932}
[ -n "${SKIP_KAFKA:-}" ] || "$root/test/oracle/record.sh" check
build_moldau
start_moldau "$work/broker" "$port"
cd "$root"
MOLDAU_BOOTSTRAP=127.0.0.1:$port go test -count=1 -v ./test/oracle
