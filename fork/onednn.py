#!/usr/bin/env python3
"""Unpacks Debian 12's oneDNN 2.6.3, for systems that have none or a later one.

    onednn.py DESTINATION     put usr/include and usr/lib below DESTINATION

oneDNN 3 has another interface, and Debian 13 has only that. The packages are pinned
and stay outside the system; of it they need glibc, libgomp, libstdc++ and libOpenCL.
"""

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

import program
from debian import fetch
from program import Refusal

DOWNLOADS = Path(__file__).resolve().parents[1] / "build/downloads"
SUITE = "bookworm"
VERSION = "2.6.3-1"
PINNED = {
    f"libdnnl2_{VERSION}_amd64.deb": (
        "9a8c4d2a880ac44175e531f55b9618b6539584c9fc5fd9eaf2070b6099a819bd"
    ),
    f"libdnnl-dev_{VERSION}_amd64.deb": (
        "1ac357ed0464a1c559dd66600ee3e713a2eb3531e743ccebb9f4e9193497bef3"
    ),
}
LINKED = "usr/lib/x86_64-linux-gnu/libdnnl.so"
"""What a program is linked with, once everything is unpacked."""


def unpack(destination: Path) -> None:
    """Fetches what is not there and unpacks it; a destination that is whole stays."""
    done = destination / "unpacked"
    if done.is_file() and done.read_text() == VERSION:
        return
    packages = fetch(
        PINNED,
        DOWNLOADS,
        suite=SUITE,
        kind="deb",
        words=["download", f"libdnnl2={VERSION}", f"libdnnl-dev={VERSION}"],
        what=f"oneDNN {VERSION}",
        instead="or build without its fast layers: DNNL=OFF fork/build.sh",
    )
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent) as name:
        fresh = Path(name) / "onednn"
        for package in packages:
            if subprocess.run(["dpkg-deb", "--extract", package, fresh]).returncode:
                raise Refusal(f"Unpacking {package} failed.")
        if not (fresh / LINKED).exists():
            raise Refusal(f"{packages[1].name} has no {LINKED}.")
        (fresh / "unpacked").write_text(VERSION)
        if destination.exists():
            shutil.rmtree(destination)
        fresh.rename(destination)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Unpack Debian 12's oneDNN 2.6.3.", allow_abbrev=False
    )
    parser.add_argument("destination", type=Path)
    unpack(parser.parse_args().destination)


if __name__ == "__main__":
    program.run(main)
