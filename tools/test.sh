#!/usr/bin/env bash
# Every test, from nothing: the fork's C++ tests, the quick demo, then pytest.
# Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."

fork/build.sh --tests
rm -rf build/test-runs # what earlier code trained proves nothing
RUNS_DIR=build/test-runs tools/demo.sh --quick
.venv/bin/python -m pytest -q "$@"
