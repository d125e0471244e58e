#!/usr/bin/env bash
# The main job from nothing, on Fashion-MNIST: build, data, the four stages of sae-all
# and swwae-all, the finetuned baseline as control, then a table and a picture.
# --quick: few iterations and a part of the test images, to see that it all works.
set -euo pipefail
cd "$(dirname "$(dirname "$(readlink -f "$0")")")"

net=vgg8
quick=
[ $# -le 1 ] || { echo "demo.sh: expected at most --quick, found: $*" >&2; exit 2; }
case "${1-}" in
  "") ;;
  --quick) quick=1 ;;
  -h | --help) sed -n '2,4s/^# //p' tools/demo.sh; exit 0 ;;
  *) echo "demo.sh: unknown option '$1'; only --quick is known" >&2; exit 2 ;;
esac

iterations() { [ -z "$quick" ] || echo "--max-iter $1"; }
out=${RUNS_DIR-runs}/demo
if [ -n "$quick" ]; then
  export RUNS_DIR=${RUNS_DIR-runs/quick} # a full demo must not go on from these
  images="--limit 2000"
else
  images=
fi

tools/build_used.sh
data/fashion_mnist/create.py

# One thread each: three trainings run at a time below, which fill two or three cores.
export OMP_NUM_THREADS=1

# shellcheck disable=SC2046 # --max-iter and its value are two words, or none
stage() {
  case $1 in
    0) set -- "$@" $(iterations 500) ;;
    2) set -- "$@" $(iterations 100) ;;
    3 | 4) set -- "$@" $(iterations 60) ;;
  esac
  tools/run_stage.sh "$1" --net "$net" --variant "${@:2}"
}

variant() {
  local name=$1 number
  shift
  for number in "$@"; do
    stage "$number" "$name" || return
  done 2>&1 | (
    trap '' INT # the stage has still to say how it ended
    exec sed -u "s/^/$(printf '%-9s' "$name") | /"
  )
}

stage 0 baseline
jobs=()
stop() {
  trap - INT TERM HUP
  for job in "${jobs[@]}"; do kill -INT -- "-$job" 2>/dev/null || true; done
  wait
  echo "demo.sh: interrupted; the same command goes on from here" >&2
  exit 130
}
trap stop INT TERM HUP
set -m # each job its own process group, so that stop reaches what it started
variant baseline 1 4 & jobs+=($!)
variant sae-all 1 2 3 4 & jobs+=($!)
variant swwae-all 1 2 3 4 & jobs+=($!)
failed=0
for job in "${jobs[@]}"; do
  wait "$job" || failed=$?
done
if [ "$failed" != 0 ]; then
  echo "demo.sh: a stage did not finish (see above); the same command goes on from there" >&2
  exit "$failed"
fi

# shellcheck disable=SC2086 # --limit and its value are two words, or none
.venv/bin/python swwae/launch.py demo --net "$net" --out "$out" $images
