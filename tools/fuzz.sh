#!/usr/bin/env bash
# Gives readers and command lines what nobody would: N times (100) as many inputs as the
# tests do, other ones each time, and counts them. Further arguments go to pytest.
set -euo pipefail
cd "$(dirname "$(dirname "$(readlink -f "$0")")")"

case "${1-}" in
  -h | --help) sed -n '2,3s/^# //p' "$0"; exit 0 ;;
  0* | *[!0-9]*) echo "fuzz.sh: expected how many times, found: $1" >&2; exit 2 ;;
esac

FUZZ_TIMES=${1:-100} exec .venv/bin/python -m pytest -q tests/fuzz "${@:2}"
