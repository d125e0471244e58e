#!/usr/bin/env bash
# Trains through the stages while everything fails: see tools/soak.sh --help.
set -euo pipefail
root=$(dirname "$(dirname "$(readlink -f "$0")")")

if ! [ -x "$root/.venv/bin/python" ]; then
  echo "soak.sh: the project's Python is not installed: run tools/venv.sh" >&2
  exit 2
fi
# What it mounts is seen by it alone, and goes with it.
alone=()
for space in --mount "--user --map-root-user --mount"; do
  # shellcheck disable=SC2086
  if unshare $space true 2>/dev/null; then
    alone=(unshare $space)
    break
  fi
done
exec "${alone[@]}" "$root/.venv/bin/python" "$root/swwae/launch.py" soak "$@"
