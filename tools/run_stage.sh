#!/usr/bin/env bash
# Runs a training stage: see tools/run_stage.sh --help.
set -euo pipefail
root=$(dirname "$(dirname "$(readlink -f "$0")")")

if ! [ -x "$root/.venv/bin/python" ]; then
  echo "run_stage.sh: the project's Python is not installed: run tools/venv.sh" >&2
  exit 2
fi
exec "$root/.venv/bin/python" "$root/swwae/launch.py" run_stage "$@"
