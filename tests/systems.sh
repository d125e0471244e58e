#!/usr/bin/env bash
# What a newcomer to a Debian release sees: makes a bare tree of each release named, runs
# README's two commands in it, and prints a row of README's table of systems.
#
#   tests/systems.sh [--bind DIR]... [bookworm|trixie]...      (both unless named)
#
# Takes root, git and debootstrap (installed if missing), 6 GB for a release, and on 2
# cores about 40 minutes each. What is committed is what is tried. The trees stay in
# build/systems until the next run, and logs beside them: build/systems/RELEASE.log.
# --bind DIR shows a folder of this machine in the trees, which can't write to it, such as
# one that holds wheels for pip. pip's settings and the certificates that somebody added to
# this machine are copied into them.
set -euo pipefail
cd "$(dirname "$(dirname "$(readlink -f "$0")")")"

fail() { # fail CODE SENTENCE
  echo "tests/systems.sh: $2" >&2
  exit "$1"
}

releases=() shown=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit ;;
    bookworm | trixie) releases+=("$1") ;;
    --bind)
      [ -d "${2-}" ] || fail 2 "--bind takes a folder of this machine, found '${2-}'."
      shown+=("$(readlink -f "$2")")
      shift ;;
    *) fail 2 "unknown argument '$1'; releases are bookworm and trixie." ;;
  esac
  shift
done
[ ${#releases[@]} -gt 0 ] || releases=(bookworm trixie)

[ "$(id -u)" = 0 ] || fail 2 "making a tree of Debian takes root; run: sudo $0"
if ! command -v debootstrap >/dev/null; then
  command -v apt-get >/dev/null || fail 2 "debootstrap is missing; install it."
  echo "installing debootstrap"
  { apt-get -qq update && apt-get -qq install -y --no-install-recommends debootstrap; } \
    >/dev/null 2>&1 ||
    fail 1 "installing debootstrap failed; run: apt-get update && apt-get install debootstrap"
fi
mkdir -p build/systems
exec 9>build/systems/lock
flock --nonblock 9 || fail 2 "another run is at work in build/systems; wait for its end."
free=$(df --output=avail -BM build | tail -n 1 | tr -dc 0-9)
[ "$free" -ge $((6000 * ${#releases[@]})) ] ||
  fail 2 "${#releases[@]} trees take $((6 * ${#releases[@]})) GB in $PWD/build, which has\
 $free MB free; make room."

# The mirror that this machine installs from, as the build finds it for Caffe's source.
mirror=$(PYTHONPATH=fork python3 -c 'import sys, debian
try: print(debian.mirror("or run this there"))
except debian.Refusal as refusal: sys.exit(f"tests/systems.sh: {refusal}")') || exit

# Runs a command line in a tree, as in a machine of its own: mounts end with it, and of
# the environment it sees what pip and apt need to reach their registries.
within() { # within TREE COMMAND
  local variables=()
  mapfile -t variables < <(env |
    grep -E '^(PIP_[A-Z_]*|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|[a-zA-Z]+_(proxy|PROXY))=')
  unshare --mount --propagation private --pid --fork --kill-child bash -ec '
    tree=$1 command=$2
    mount -t proc proc "$tree/proc"
    mount --rbind /sys "$tree/sys"
    mount --rbind /dev "$tree/dev"
    for path in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/xdg/pip \
      /usr/local/share/ca-certificates /etc/ssl/certs/ca-certificates.crt; do
      [ -e "$path" ] || continue
      mkdir -p "$tree${path%/*}"
      cp -rLT "$path" "$tree$path"
    done
    for path in "${@:3}"; do
      case $path in --) break ;; esac
      mkdir -p "$tree$path"
      mount --bind "$path" "$tree$path"
      mount -o remount,ro,bind "$tree$path"
    done
    while [ "$1" != -- ]; do shift; done
    shift
    exec chroot "$tree" env -i HOME=/root LANG=C.UTF-8 "$@" \
      PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin bash -c "$command"
  ' within "$1" "$2" "${shown[@]}" -- "${variables[@]}"
}

# What is timed goes first, in every tree, so that nothing else need be idle afterwards.
# shellcheck disable=SC2016  # the tree's shell expands it
timed='
set -e
cd /root/augmented-caffe
begin=$SECONDS
fork/build.sh
echo "built from nothing in $((SECONDS - begin)) s"
tools/venv.sh
.venv/bin/python tools/bench.py --net vgg8 --batch 64 --json /root/bench.json
'
# The newcomer, in a clone that somebody made for them.
newcomer='
set -e
cd /root/augmented-caffe
tools/demo.sh
tools/test.sh
'
# shellcheck disable=SC2016
facts='
. /etc/os-release
cd /root/augmented-caffe
.venv/bin/python - "Debian $(cat /etc/debian_version)" "$(gcc -dumpfullversion)" <<"END"
import json, platform, re, sys
from pathlib import Path
log = Path("/root/newcomer.log").read_text(errors="replace")
[built] = re.findall(r"^built from nothing in (\d+) s", log, re.M)
[cplusplus] = re.findall(r"^\[  PASSED  \] (\d+) tests", log, re.M)
passed = re.findall(r"^(?:\x1b\S*)?(\d+) passed(?:, (\d+) skipped)?.* in ", log, re.M)[-1]
lines = Path("build/caffe-build.log").read_text(errors="replace")
onednn = re.search(r"oneDNN *: *Yes \(ver. (\S+)\)", lines)
place = ", unpacked" if Path("build/onednn/unpacked").exists() else ""
sides = json.loads(Path("/root/bench.json").read_text())["contenders"]
steps = {one["name"]: one["ms"] for one in sides if "ms" in one}
print("row:", "|", " | ".join([
    sys.argv[1], sys.argv[2], platform.python_version(),
    onednn[1] + place if onednn else "none", f"{built} s",
    f"{cplusplus} + {passed[0]}" + (f", {passed[1]} skipped" if passed[1] else ""),
    *(f"{steps[name]:.1f} ms" if name in steps else "" for name in ("DNNL", "CAFFE")),
]), "|")
END
'

try_in() { # try_in RELEASE WHAT COMMAND
  echo "$1: $2; the log: $PWD/build/systems/$1.log"
  within "build/systems/$1" "$3" 2>&1 |
    tee -a "build/systems/$1/root/newcomer.log" >>"build/systems/$1.log" ||
    fail 1 "$1 failed: $(tail -n 1 "build/systems/$1.log") The whole log:\
 $PWD/build/systems/$1.log"
}

for release in "${releases[@]}"; do
  tree=build/systems/$release log=build/systems/$release.log
  echo "$release: making a tree"
  rm -rf "$tree"
  debootstrap --variant=minbase "$release" "$tree" "$mirror" >"$log" 2>&1 ||
    fail 1 "debootstrap of $release failed: $(tail -n 1 "$log") The whole log: $PWD/$log"
  git clone -q --no-hardlinks . "$tree/root/augmented-caffe"
  try_in "$release" "the build, and a step's time" "$timed"
done
rows=()
for release in "${releases[@]}"; do
  try_in "$release" "README's two commands" "$newcomer"
  rows+=("$(within "build/systems/$release" "$facts" | sed -n 's/^row: //p')")
done
echo "| system | gcc | Python | oneDNN | built in | tests passed | DNNL | CAFFE |"
echo '|---|---|---|---|---|---|---|---|'
printf '%s\n' "${rows[@]}"
