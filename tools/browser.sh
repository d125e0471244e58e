#!/usr/bin/env bash
# Installs chromium, the browser that the report is tested in, where it is missing.
set -euo pipefail

fail() { echo "tools/browser.sh: $*" >&2; exit 2; }

command -v chromium >/dev/null && exit
command -v apt-get >/dev/null ||
  fail "the browser chromium is missing; install it, and run this again."
[ "$(id -u)" = 0 ] ||
  fail "the browser chromium is missing; run: sudo apt-get install chromium"
echo "installing chromium"
{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
  apt-get -qq install -y --no-install-recommends chromium; } >/dev/null 2>&1 ||
  fail "installing chromium failed; run: apt-get update && apt-get install chromium"
