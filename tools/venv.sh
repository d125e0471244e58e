#!/usr/bin/env bash
# Makes .venv with everything the project's Python needs, and lets it find pycaffe.
# Quick when nothing changed; made anew where the checkout was moved or copied.
set -euo pipefail
cd "$(dirname "$(dirname "$(readlink -f "$0")")")"

fail() { echo "tools/venv.sh: $*" >&2; exit 2; }

# pycaffe is linked against the distribution's libpython, so its Python is used.
python=/usr/bin/python3
stamp=.venv/.made-from
wanted=$(cat setup.py tools/venv.sh | sha256sum)

# An environment holds absolute paths, so it belongs to one place. When its Python
# starts, it asks the checkout which build is used.
chooser=$PWD/generator/caffe_build.py
chooser=${chooser//\\/\\\\}
chooser=${chooser//\'/\\\'}
pycaffe="import os, runpy; chooser = '$chooser'; os.path.exists(chooser) and\
 runpy.run_path(chooser)['add_to_path']()"
pth=$(echo .venv/lib/python3*/site-packages)/pycaffe.pth
here=
case $(cat "$pth" 2>/dev/null || true) in
  "$pycaffe") here=yes ;;
  "$PWD/build/caffe/python")  # as it was before there were builds to choose from
    here=yes
    echo "$pycaffe" >"$pth" ;;
esac

[ -n "$here" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && exit 0

if ! [ -x "$python" ] || ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  [ "$(id -u)" = 0 ] ||
    fail "Python's venv module is missing; run: sudo apt-get install python3-venv"
  echo "installing python3-venv"
  { apt-get -qq update &&
    apt-get -qq install -y --no-install-recommends python3-venv; } >/dev/null 2>&1 ||
    fail "installing python3-venv failed; run: apt-get update &&" \
      "apt-get install python3-venv"
fi

if [ -z "$here" ] || ! .venv/bin/python -c '' 2>/dev/null; then
  rm -rf .venv
  "$python" -m venv .venv
  site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  echo "$pycaffe" >"$site/pycaffe.pth"
fi
echo "installing the Python packages into .venv"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! .venv/bin/python -m pip --disable-pip-version-check install -q -e '.[test]' \
  >"$log" 2>&1; then
  tail -n 5 "$log" >&2
  fail "pip could not install the packages that setup.py names; is the network up?" \
    "Run it again when it is."
fi
echo "$wanted" >"$stamp"
