#!/usr/bin/env bash
# Runs a training stage: see tools/run_stage.sh --help.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

if ! [ -x "$root/.venv/bin/python" ]; then
  echo "run_stage.sh: the project's Python is not installed: run tools/venv.sh" >&2
  exit 2
fi
exec "$root/.venv/bin/python" "$root/tools/stage.py" "$@"
