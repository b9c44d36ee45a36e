#!/usr/bin/env bash
# run.sh [FRAMEWORK...] runs frameworks of other people, unmodified, and compares what each has made with a batch computation.
# Frameworks: spark streams connect mirror-maker (default: all), one at a time, each with a broker of its own; what it needs is installed here.
# The framework is stopped, or killed, and goes on; the broker is killed under it.
#   BROKER=kafka      Apache Kafka in Moldau's place, to try the scripts
#   RECORDS=100000    records that each framework is given
#   PORT=19792        and the ports above it
#   KEEP=1            keeps the directory of each run
# Exit status 1 where anything failed. A framework that fails does not stop the others.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
everyone=(spark streams connect mirror-maker)
frameworks=("$@"); [ $# -gt 0 ] || frameworks=("${everyone[@]}")
for framework in "${frameworks[@]}"; do
  [[ " ${everyone[*]} " == *" $framework "* ]] || { echo "run.sh: no framework $framework; there are ${everyone[*]}" >&2; exit 2; }
done
status=0
for framework in "${frameworks[@]}"; do
  echo "== $framework" >&2
  begun=$SECONDS
  if "$here/$framework.sh"; then
    echo "   $framework: passed in $((SECONDS - begun)) s"
  else
    echo "   $framework: FAILED after $((SECONDS - begun)) s"
    status=1
  fi
done
exit "$status"
