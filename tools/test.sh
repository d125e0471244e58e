#!/usr/bin/env bash
# Every test, from nothing: the fork's C++ tests, the quick demo, then pytest.
# Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$(dirname "$(readlink -f "$0")")")"

case "${1-}" in -h | --help) sed -n '2,3s/^# //p' "$0"; exit 0 ;; esac

fail() { echo "tools/test.sh: $*" >&2; exit 2; }

# The report is tested in a real browser.
if ! command -v chromium >/dev/null; then
  command -v apt-get >/dev/null ||
    fail "the browser chromium is missing; install it, and run this again."
  [ "$(id -u)" = 0 ] ||
    fail "the browser chromium is missing; run: sudo apt-get install chromium"
  echo "installing chromium"
  { apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
    apt-get -qq install -y --no-install-recommends chromium; } >/dev/null 2>&1 ||
    fail "installing chromium failed; run: apt-get update && apt-get install chromium"
fi

fork/build.sh --tests
rm -rf build/test-runs # what earlier code trained proves nothing
RUNS_DIR=build/test-runs tools/demo.sh --quick
.venv/bin/python -m pytest -q "$@"
