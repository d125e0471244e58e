#!/usr/bin/env bash
# Packs the patched Caffe, its tests, pycaffe with a Python of its own and this checkout's
# Python, with all libraries that they need, to run on other machines.
set -euo pipefail
given=$PWD
cd "$(dirname "$(dirname "$(readlink -f "$0")")")"
root=$PWD

usage() {
  cat <<'END'
usage: fork/bundle.sh [--cuda] OUT.tar.xz

Packs what fork/build.sh --tests has built, and all that it needs to run in any folder of
an x86-64 Linux, without root and without a package manager: caffe, its tests, pycaffe with
a Python of its own, generator, models, solvers, tools. There, `FOLDER/selftest` says
whether it works, FOLDER being what `tar xf OUT.tar.xz` makes.

  --cuda    pack the build for NVIDIA GPUs; driver and CUDA's libraries are the machine's
  --help    print this
END
}

fail() {  # fail CODE SENTENCE
  echo "fork/bundle.sh: $2" >&2
  exit "$1"
}

trap 'echo "fork/bundle.sh: interrupted." >&2; exit 130' INT TERM

cuda='' out=''
for argument; do
  case $argument in
    --cuda) cuda=-cuda ;;
    --help | -h) usage; exit ;;
    -*) usage >&2; fail 2 "unknown argument $argument." ;;
    *) [ -z "$out" ] || { usage >&2; fail 2 "name one file, not $out and $argument."; }
      out=$argument ;;
  esac
done
case $out in
  /*) ;;
  *) out=$given/$out ;;
esac
case $out in
  */?*.tar.xz) ;;
  *) usage >&2; fail 2 "name the file to write, such as caffe$cuda.tar.xz." ;;
esac
[ -d "$(dirname "$out")" ] || fail 2 "there is no folder $(dirname "$out"): make it first."

build=$root/build/caffe$cuda
objects=$root/build/caffe-obj$cuda
source=$root/build/caffe-src$cuda
[ -e "$build/made-from" ] && [ -x "$objects/test/test.testbin" ] ||
  fail 2 "Caffe or its tests are not built: run fork/build.sh ${cuda:+--cuda }--tests."
case $(cat "$build/made-from") in
  "$(python3 fork/prepare.py --fingerprint)"*) ;;
  *) fail 2 "Caffe was built from another state of fork/: run fork/build.sh ${cuda:+--cuda }--tests." ;;
esac
[ "$objects/test/test.testbin" -nt "$objects/lib/libcaffe.so" ] ||
  fail 2 "the tests are older than Caffe: run fork/build.sh ${cuda:+--cuda }--tests."
for tool in gcc git ldd nm readelf strip xz; do
  command -v "$tool" >/dev/null ||
    fail 2 "the tool $tool is not in PATH; install it and run this again."
done

work=$(mktemp -d)
trap 'rm -rf "$work" "$out.partial"' EXIT
name=$(basename "$out" .tar.xz)
mkdir "$work/$name"
PYTHONPATH=$root/fork "$root/.venv/bin/python" -m bundle.contents \
  "$root" "$build" "$objects" "$source" "$work/$name" ||
  fail 1 "the bundle could not be put together; what the lines above say stopped it."
echo "compressing $(du -sm "$work/$name" | cut -f1) MB"
tar -C "$work" --owner=0 --group=0 --sort=name -c "$name" |
  xz -T"${XZ_THREADS:-0}" -8 >"$out.partial" ||
  fail 1 "$out cannot be written; is there room?"
mv "$out.partial" "$out"
echo "$out: $(($(stat -c %s "$out") / 1000000)) MB"
