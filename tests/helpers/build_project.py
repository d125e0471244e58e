"""A clone in which fork/build.sh runs with stand-ins for apt, CMake and make."""

import os
import shutil
import subprocess
from pathlib import Path

FORK = Path(__file__).resolve().parents[2] / "fork"
PACKAGES = (FORK / "packages.txt").read_text().split()

# What they are asked is kept in the file named by $CALLS.
DPKG_QUERY = """\
for package; do
  if grep -qx "$package" "$INSTALLED"; then echo "installed $package"
  else found=1; fi
done
exit ${found-0}
"""
APT_GET = """\
echo "apt-get $*" >>"$CALLS"
[ -z "${APT_FAILS-}" ] || { echo "E: $APT_FAILS" >&2; exit 100; }
"""
CMAKE = """\
[ -e "$OBJECTS/CMakeCache.txt" ] && state=old || state=clean
echo "cmake: $state objects" >>"$CALLS"
echo "CMake Error at nowhere: as the test wants" >&2
exit 1
"""
# CMake and make where all goes well, and what they build: tests that say what they saw.
CMAKE_WORKS = """\
for word; do
  case $word in -DBUILD_* | -DCMAKE_CXX_FLAGS_RELEASE=*) echo "$word" >>"$CALLS"; esac
done
"""
MAKE = """\
echo "make $4" >>"$CALLS"
mkdir -p "$2/test" && cp "$TESTS" "$2/test/test.testbin"
"""
TESTS = """\
echo "tests in $OMP_NUM_THREADS" >>"$CALLS"
echo "${SAYS-}" >&2
echo "$LSAN_OPTIONS; $UBSAN_OPTIONS"
echo "[  PASSED  ] as many tests as there are."
[ "$OMP_NUM_THREADS" != "${FAILS_IN-}" ] || { echo "[  FAILED  ] a test"; exit 1; }
"""
# Ends the build, where a test wants no more, with a code that nothing else gives.
PREPARE = 'import os, sys; sys.exit(int(os.environ.get("PREPARE_ENDS", 0)))\n'
ENDED_AFTER_PACKAGES = 77
ONEDNN = """\
import pathlib, sys
folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True)
(folder / "unpacked").write_text("2.6.3-1")
"""


def write_program(path, script):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(0o755)


class Project:
    """A fresh clone: fork/ and tools/ as build.sh needs them, no build/."""

    def __init__(self, folder):
        folder.mkdir(exist_ok=True)
        self.root = folder / "a clone"
        self.programs = folder / "programs"
        self.calls = folder / "calls"
        self.installed = folder / "installed"
        self.installed.write_text("\n".join(PACKAGES))
        self.calls.touch()
        (self.root / "fork").mkdir(parents=True)
        for name in ("build.sh", "packages.txt"):
            shutil.copy(FORK / name, self.root / "fork")
        self.write("fork/prepare.py", PREPARE)
        self.write("fork/onednn.py", ONEDNN)
        write_program(self.root / "tools/venv.sh", "")
        write_program(self.root / ".venv/bin/python", "echo python and numpy\n")
        for name, script in (
            ("dpkg-query", DPKG_QUERY),
            ("apt-get", APT_GET),
            ("cmake", CMAKE),
            ("id", 'echo "$USER_ID"\n'),
            ("protoc", ""),
        ):
            write_program(self.programs / name, script)

    def write(self, name, content):
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(content)

    def miss(self, *packages):
        self.installed.write_text("\n".join(set(PACKAGES) - set(packages)))

    def build(self, *arguments, user=0, cwd=None, **environment):
        return subprocess.run(
            [self.root / "fork/build.sh", *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=cwd,
            env={
                **{
                    k: v
                    for k, v in os.environ.items()
                    if k not in ("CAFFE_SOURCE", "DNNL")
                },
                "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}",
                "CALLS": str(self.calls),
                "INSTALLED": str(self.installed),
                "OBJECTS": str(self.root / "build/caffe-obj"),
                "USER_ID": str(user),
                **environment,
            },
        )
