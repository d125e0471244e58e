#!/usr/bin/env python3
"""Prepares the patched Caffe source: upstream, plus fork/src, plus fork/patches.

    prepare.py DESTINATION       make or bring up to date the tree in DESTINATION
    prepare.py --fetch           only download upstream
    prepare.py --fingerprint     print a hash of all that the result depends on

Upstream is fetched as a Debian source package, or copied from $CAFFE_SOURCE.
Needs nothing but the standard library, since it runs before any package is there.
"""

import argparse
import filecmp
import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import program
from debian import fetch
from program import Refusal

FORK = Path(__file__).resolve().parent
BUILD = FORK.parent / "build"

PACKAGE = "caffe"
VERSION = "1.0.0+git20180821.99bd997-8"
SUITE = "bullseye"
TARBALL = f"{PACKAGE}_{VERSION.rpartition('-')[0]}.orig.tar.gz"
SHA256 = "e0eb3f06794f7402c77b7dec8e8480273ee1a1bb192e9122b621a69d4147ad0c"

# What every Caffe tree has, and what of somebody's tree is not source.
LANDMARKS = ("src/caffe/proto/caffe.proto", "src/caffe/net.cpp", "CMakeLists.txt")
BEGIN, END = "// >>> taken out", "// <<< taken out"
"""A patch puts lines that begin so around what it takes out of a file."""

PATCHED = r"^\+\+\+ b/(\S+)"
"""The name of a file that a patch changes."""

NOT_SOURCE = {".git", ".pc", "build", ".build_release", ".build_debug", "distribute"}


def files_below(root: Path) -> list[Path]:
    """All files and links below `root`, relative to it, sorted; no NOT_SOURCE."""
    found = []
    for folder, names, files in os.walk(root):
        here = Path(folder)
        if here == root:
            names[:] = [name for name in names if name not in NOT_SOURCE]
        links = [name for name in names if (here / name).is_symlink()]
        found += [(here / name).relative_to(root) for name in files + links]
    return sorted(found)


def local_source() -> Path | None:
    """The folder that $CAFFE_SOURCE names, if it does."""
    given = os.environ.get("CAFFE_SOURCE", "")
    if not given:
        return None
    source = Path(given).expanduser().resolve()
    for landmark in LANDMARKS:
        if not (source / landmark).is_file():
            raise Refusal(
                f"CAFFE_SOURCE={given} is no Caffe source tree: it has no {landmark}."
                " Name the folder that holds Caffe's CMakeLists.txt, or unset it.",
                code=2,
            )
    if source in (FORK.parent, BUILD) or BUILD in source.parents:
        raise Refusal(
            f"CAFFE_SOURCE={given} is inside what the build itself makes;"
            " name a tree elsewhere.",
            code=2,
        )
    return source


def fingerprint() -> str:
    """A hash over what of fork/ goes into the build and the identity of upstream.

    A local tree is taken by its files' names, sizes and times, which is quick.
    """
    digest = hashlib.sha256()
    inputs = [FORK / "build.sh", FORK / "prepare.py"]
    for folder in (FORK / "patches", FORK / "src"):
        inputs += [folder / name for name in files_below(folder)]
    for path in inputs:
        digest.update(f"{path.relative_to(FORK)}\0".encode() + path.read_bytes())
    source = local_source()
    if source is None:
        digest.update(SHA256.encode())
    else:
        digest.update(str(source).encode())
        for name in files_below(source):
            state = (source / name).lstat()
            digest.update(f"{name}\0{state.st_size}\0{state.st_mtime_ns}".encode())
    return digest.hexdigest()


def fetch_source() -> Path:
    """The pinned tarball, downloaded unless it is there."""
    (tarball,) = fetch(
        {TARBALL: SHA256},
        BUILD / "downloads",
        suite=SUITE,
        kind="deb-src",
        words=["source", "--download-only", "--tar-only", f"{PACKAGE}={VERSION}"],
        what=f"Caffe's source, {PACKAGE} {VERSION}",
        instead="or set CAFFE_SOURCE to a Caffe source tree",
    )
    return tarball


def unpack(tarball: Path, tree: Path) -> None:
    """Unpacks into `tree`; a single top folder in the archive is left out."""
    # Python without filters, before 3.11.4, would not know the word.
    safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(tarball) as archive:
        archive.extractall(tree, **safely)
    inside = list(tree.iterdir())
    if len(inside) == 1 and inside[0].is_dir():
        for path in inside[0].iterdir():
            path.rename(tree / path.name)
        inside[0].rmdir()


def copy_source(source: Path, tree: Path) -> None:
    """Copies somebody's tree and takes Debian's patches, if applied, back out."""
    for name in files_below(source):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, tree / name, follow_symlinks=False)
    series = tree / "debian/patches/series"
    if series.is_file():
        for patch in reversed(read_series(series)):
            if run_patch(tree, patch, "--reverse", "--dry-run") is None:
                run_patch(tree, patch, "--reverse")


def read_series(series: Path) -> list[Path]:
    lines = (line.partition("#")[0].strip() for line in series.read_text().splitlines())
    return [series.parent / line.split()[0] for line in lines if line]


def run_patch(tree: Path, patch: Path, *options: str) -> str | None:
    """Runs patch(1) on `tree`; None if all of it applied, else what failed."""
    with patch.open() as text:
        done = subprocess.run(
            [
                "patch",
                "-p1",
                "--force",
                "--no-backup-if-mismatch",
                "--reject-file=-",
                *options,
            ],
            check=False,
            cwd=tree,
            stdin=text,
            capture_output=True,
            text=True,
        )
    if done.returncode == 0:
        return None
    lines = [x for x in (done.stdout + done.stderr).splitlines() if "FAILED" in x]
    return lines[0] if lines else (done.stdout + done.stderr).strip()


def apply_series(tree: Path) -> None:
    """Applies fork/patches; what a newer upstream already has is passed over."""
    for patch in read_series(FORK / "patches/series"):
        failed = run_patch(tree, patch, "--dry-run")
        if failed is None:
            run_patch(tree, patch)
        elif run_patch(tree, patch, "--reverse", "--dry-run") is None:
            print(f"{patch.name} is in this source already")
        else:
            given = local_source() is not None
            raise Refusal(
                f"fork/patches/{patch.name} does not apply ({failed}). "
                + (
                    f"Unset CAFFE_SOURCE, or name a tree nearer to {VERSION}."
                    if given
                    else "Make it apply to the pinned source, or restore it."
                ),
                code=2 if given else 1,
            )


def without_marked(text: str) -> str | None:
    """The lines that no pair of marks encloses; None where the marks do not pair."""
    kept, inside = [], False
    for line in text.splitlines(keepends=True):
        if line.strip().startswith(END if inside else BEGIN):
            inside = not inside
        elif line.strip().startswith((BEGIN, END)):
            return None
        elif not inside:
            kept.append(line)
    return None if inside else "".join(kept)


def take_out(tree: Path) -> None:
    """Removes what patches have marked, from a line with BEGIN to the next with END.

    This is how a patch takes upstream's lines out without quoting them.
    """
    series = read_series(FORK / "patches/series")
    texts = (patch.read_text(encoding="utf-8") for patch in series)
    names = {name for text in texts for name in re.findall(PATCHED, text, re.MULTILINE)}
    for path in sorted(tree / name for name in names if (tree / name).is_file()):
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        kept = without_marked(text)
        if kept is None:
            raise Refusal(
                f"'{BEGIN}' and '{END}', with which fork/patches mark lines, do not"
                f" pair in {path.relative_to(tree)}: restore the patches."
            )
        if kept != text:
            path.write_text(kept, encoding="utf-8", errors="surrogateescape")


def sync(fresh: Path, tree: Path) -> int:
    """Makes `tree` equal `fresh`, touching only files that differ; how many did.

    Unchanged files keep their times, so make rebuilds only what it must. An
    interrupted sync is mended by the next one.
    """
    changed = 0
    wanted = set(files_below(fresh))
    for name in files_below(tree) if tree.is_dir() else []:
        if name not in wanted:
            (tree / name).unlink()
            changed += 1
    for name in sorted(wanted):
        old, new = tree / name, fresh / name
        same_kind = old.is_symlink() == new.is_symlink()
        if same_kind and old.is_file() and filecmp.cmp(old, new, shallow=False):
            continue
        old.parent.mkdir(parents=True, exist_ok=True)
        part = old.with_name(old.name + ".part")
        shutil.copy(new, part, follow_symlinks=False)
        part.replace(old)
        changed += 1
    return changed


def prepare(tree: Path) -> None:
    source = local_source()
    tree.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tree.parent, prefix="caffe-fresh-") as name:
        fresh = Path(name)
        if source is None:
            unpack(fetch_source(), fresh)
        else:
            print(f"copying Caffe's source from {source}", flush=True)
            copy_source(source, fresh)
        apply_series(fresh)
        take_out(fresh)
        shutil.copytree(FORK / "src", fresh, dirs_exist_ok=True)
        changed = sync(fresh, tree)
    print(f"source prepared; files new or changed: {changed}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Prepare the patched Caffe source.", allow_abbrev=False
    )
    parser.add_argument("destination", type=Path, nargs="?")
    parser.add_argument("--fetch", action="store_true")
    parser.add_argument("--fingerprint", action="store_true")
    args = parser.parse_args()
    if args.fetch + args.fingerprint + bool(args.destination) != 1:
        parser.error("give a DESTINATION, --fetch or --fingerprint")
    if args.fingerprint:
        print(fingerprint())
    elif args.destination:
        prepare(args.destination)
    elif local_source() is None:
        fetch_source()


if __name__ == "__main__":
    program.run(main)
