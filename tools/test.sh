#!/usr/bin/env bash
# Every test, from nothing: the fork's C++ tests, the quick demo, then pytest.
# Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$(dirname "$(readlink -f "$0")")")"

case "${1-}" in -h | --help) sed -n '2,3s/^# //p' "$0"; exit 0 ;; esac

tools/browser.sh
fork/build.sh --tests
rm -rf build/test-runs # what earlier code trained proves nothing
RUNS_DIR=build/test-runs tools/demo.sh --quick
.venv/bin/python -m pytest -q "$@"
