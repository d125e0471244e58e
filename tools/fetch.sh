#!/usr/bin/env bash
# Makes all downloads of tools/demo.sh and tools/test.sh, which then work without a
# network: installs Debian packages, makes .venv, fetches the sources. --demo: those of
# tools/demo.sh alone.
set -euo pipefail
cd "$(dirname "$(dirname "$(readlink -f "$0")")")"

case "$#${1-}" in
  0) browser=yes ;;
  1--demo) browser= ;;
  1-h | 1--help) sed -n '2,4s/^# //p' tools/fetch.sh; exit 0 ;;
  *) echo "fetch.sh: expected at most --demo, found: $*" >&2; exit 2 ;;
esac

fork/build.sh --fetch
data/fashion_mnist/create.py --fetch
[ -z "$browser" ] || tools/browser.sh
echo "everything is there; no network is needed now for tools/demo.sh${browser:+, tools/test.sh}"
