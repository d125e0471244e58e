#!/usr/bin/env bash
# Runs Caffe's layers and readers on inputs that libFuzzer makes up, under sanitizers.
set -euo pipefail
cd "$(dirname "$(dirname "$(readlink -f "$0")")")"
root=$PWD
targets=$root/build/caffe-obj-fuzz/fuzz
found=$root/build/fuzz

usage() {
  cat <<'END'
usage: fork/fuzz.sh [TARGET...] [--runs N] [--input FILE]

Builds the targets (with clang, which it installs) and gives each N inputs, in one process.
Every input is either refused with a sentence or runs through. Goes on from the inputs of
earlier runs, in build/fuzz/TARGET; the first that is a finding ends it and is kept there.

  TARGET        datum     Datums, encoded and not, and transform_param
                layer     layers' parameters and shapes, forward and backward
                snapshot  .caffemodel and .solverstate files
                text      networks' and solvers' text
                (all of them, unless some are named)
  --runs N      inputs a target (100000)
  --input FILE  instead run the one TARGET on this input alone, with Caffe's log
  --help        print this
END
}

fail() {  # fail CODE SENTENCE
  echo "fork/fuzz.sh: $2" >&2
  exit "$1"
}

trap 'echo "fork/fuzz.sh: interrupted; run it again to go on." >&2; exit 130' INT TERM

runs=100000 input='' chosen=()
while [ $# -gt 0 ]; do
  case $1 in
    datum | layer | snapshot | text) chosen+=("$1") ;;
    --runs=* | --input=*) set -- "${1%%=*}" "${1#*=}" "${@:2}"; continue ;;
    --runs | --input)
      [ $# -gt 1 ] || fail 2 "$1 needs a value after it."
      [ "$1" = --input ] && input=$2 || runs=$2
      shift ;;
    --help | -h) usage; exit ;;
    *) usage >&2; fail 2 "unknown argument $1." ;;
  esac
  shift
done
[[ $runs =~ ^[1-9][0-9]{0,8}$ ]] || fail 2 "--runs is $runs; expected 1 to 999999999."
if [ -n "$input" ]; then
  [ ${#chosen[@]} = 1 ] || fail 2 "--input goes with one TARGET."
  [ -f "$input" ] || fail 2 "there is no file $input."
fi
[ ${#chosen[@]} -gt 0 ] || chosen=(datum layer snapshot text)

fork/build.sh --sanitize=fuzz
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# An allocation that is too large fails as it does on a small machine.
export ASAN_OPTIONS="max_allocation_size_mb=64:allocator_may_return_null=1:${ASAN_OPTIONS-}"
export UBSAN_OPTIONS="print_stacktrace=1:${UBSAN_OPTIONS-}"
export OMP_NUM_THREADS=1 CAFFE_FUZZ_FOLDER=$scratch

if [ -n "$input" ]; then
  CAFFE_FUZZ_LOG=1 "$targets/${chosen[0]}" "$input"
  exit
fi
sed -nE 's/^ *(optional|repeated) [A-Za-z0-9]+ ([A-Za-z0-9_]+) *=.*/"\2"/p' \
  build/caffe-src-fuzz/src/caffe/proto/caffe.proto | sort -u >"$scratch/words"
for target in "${chosen[@]}"; do
  mkdir -p "$found/$target/inputs" "fork/fuzz/seeds/$target"
  words=()
  [ "$target" != text ] || words=(-dict="$scratch/words")
  "$targets/$target" -runs="$runs" -max_len=4096 -timeout=60 -rss_limit_mb=4096 \
    -print_final_stats=1 -artifact_prefix="$found/$target/found-" "${words[@]}" \
    "$found/$target/inputs" "fork/fuzz/seeds/$target" >"$found/$target/log" 2>&1 || {
    grep -E 'ERROR|runtime error|SUMMARY' "$found/$target/log" | head -n 3 >&2
    fail 1 "$target: a finding. The log: $found/$target/log. Its input is beside it; again:\
 fork/fuzz.sh $target --input $(ls -t "$found/$target"/found-* 2>/dev/null | head -n 1)"
  }
  echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$found/$target/log")\
 inputs, no finding"
done
