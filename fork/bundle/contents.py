"""Fills a bundle's folder; fork/bundle.sh says what a bundle is, and calls this.

    python -m bundle.contents CHECKOUT BUILD OBJECTS SOURCE FOLDER

BUILD is that of the patched Caffe (build/caffe), OBJECTS where its tests were compiled,
SOURCE where it was compiled from. Runs under the checkout's own Python: the bundle gets
its version.
"""

import fnmatch
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from bundle.libraries import (
    COMPILERS,
    closure,
    located,
    make_stand_in,
    needed_by,
    newest_version,
    output_of,
)

HERE = Path(__file__).resolve().parent

NOT_FROM_CHECKOUT = ("fork/", "tests/", "docs/", ".ci/", "pytest.ini", ".gitignore")

PACKAGES = ("numpy", "google", "jinja2", "markupsafe", "lmdb", "safetensors", "PIL")
"""Of the checkout's Python: what training, its networks and databases need. Evaluation
and figures import what is left out (OpenCV, SciPy, matplotlib: 300 MB)."""

DISTRIBUTIONS = (
    "numpy",
    "protobuf",
    "jinja2",
    "markupsafe",
    "lmdb",
    "safetensors",
    "pillow",
)

NOT_OF_PACKAGES = (
    "*/__pycache__", "*/tests", "numpy/f2py", "numpy/_core/include", "numpy/_core/lib",
    "numpy/typing", "*/*.pyi", "*/_avif.*", "pillow.libs/libavif*", "PIL/_imagingtk*",
)  # fmt: skip
"""What nothing runs."""

NOT_OF_PYTHON = (
    "__pycache__", "*/__pycache__", "test", "idlelib", "tkinter", "ensurepip",
    "lib2to3", "pydoc_data", "turtledemo", "distutils", "config-*", "unittest/test",
    "sqlite3", "dist-packages", "site-packages", "sitecustomize.py",
    "EXTERNALLY-MANAGED", "lib-dynload/*test*", "lib-dynload/xx*",
    "lib-dynload/_curses*", "lib-dynload/_dbm*", "lib-dynload/_gdbm*",
    "lib-dynload/_hashlib*", "lib-dynload/_sqlite3*", "lib-dynload/_ssl*",
    "lib-dynload/_tkinter*", "lib-dynload/nis*",
    "lib-dynload/readline*", "lib-dynload/_crypt*", "lib-dynload/ossaudiodev*",
)  # fmt: skip
"""What nothing here imports, or does without (hashlib), and what takes libraries."""

PYTHON_MAIN = """\
int Py_BytesMain(int, char **);
int main(int count, char **given) { return Py_BytesMain(count, given); }
"""

PYCAFFE = """\
import os, runpy, sys; runpy.run_path(os.path.join(os.path.dirname(sys.prefix),\
 'generator', 'caffe_build.py'))['add_to_path']()
"""
"""As tools/venv.sh writes it, for a folder that may be anywhere."""

TESTS = "test.testbin"
TEST_DATA = ("src/caffe/test/test_data", "examples/images")
"""What the tests read, below the folder that they run in."""


def fill(
    checkout: Path, build: Path, objects: Path, source: Path, folder: Path
) -> None:
    """Fills an empty folder, and says on stdout what the bundle wants of a machine."""
    copy_checkout(checkout, folder)
    caffe = folder / "build" / build.name
    libexec, lib = folder / "libexec", folder / "lib"
    for made in (libexec, lib / "gcc", folder / "bin", caffe / "bin"):
        made.mkdir(parents=True)
    copy_tree(build / "python" / "caffe", caffe / "python" / "caffe", ["*__pycache__"])
    shutil.copy(build / "made-from", caffe)
    for program in sorted((build / "bin").iterdir()):
        shutil.copy(program, libexec)
    shutil.copy(objects / "test" / TESTS, libexec)
    for name in TEST_DATA:
        copy_tree(source / name, folder / "share" / "caffe" / name)
    python = folder / ".venv" / "lib" / f"python{sysconfig.get_python_version()}"
    copy_python(python)
    programs = [*libexec.iterdir(), *caffe.glob("python/caffe/_caffe*.so")]
    libcaffe = next(
        name for name in needed_by(build / "bin" / "caffe") if "libcaffe." in name
    )
    copy_libraries(build, libcaffe, [*programs, *python.glob("lib-dynload/*.so")], lib)
    compile_python(libexec / "python")
    files = [*libexec.iterdir(), *lib.glob("*.so*"), *python.rglob("*.so*")]
    glibc = newest_version(files, "GLIBC")
    glibcxx = f"GLIBCXX_{newest_version(files, 'GLIBCXX')}"
    strip([*libexec.iterdir(), *lib.rglob("*.so*"), *caffe.rglob("*.so")])
    strip(python.glob("lib-dynload/*.so"))
    add_launchers(folder, caffe, glibc, glibcxx)
    print(f"it needs glibc {glibc}; it has libstdc++ for machines without {glibcxx}")


def copy_checkout(checkout: Path, folder: Path) -> None:
    """Copies what git knows of the checkout, but for what only builds and tests it."""
    names = output_of("git", "-C", str(checkout), "ls-files", "-z").split("\0")
    for name in filter(None, names):
        if name.startswith(NOT_FROM_CHECKOUT):
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(checkout / name, folder / name, follow_symlinks=False)


def copy_tree(source: Path, to: Path, without: Iterable[str] = ()) -> None:
    """Copies a folder without what patterns name, of paths relative to it."""
    patterns = list(without)

    def left_out(folder: str, names: list[str]) -> list[str]:
        below = Path(folder).relative_to(source)
        return [
            name
            for name in names
            if any(fnmatch.fnmatch(str(below / name), one) for one in patterns)
        ]

    shutil.copytree(source, to, ignore=left_out, dirs_exist_ok=True)


def copy_python(python: Path) -> None:
    """Copies the standard library and the packages to `python`, a lib/python3.x."""
    copy_tree(Path(sysconfig.get_path("stdlib")), python, NOT_OF_PYTHON)
    site, here = python / "site-packages", Path(sysconfig.get_path("purelib"))
    for package in PACKAGES:
        copy_package(here, package, site)
    for distribution in DISTRIBUTIONS:
        copy_package(here, f"{distribution}.libs", site)
        for info in here.glob(f"{distribution}-*.dist-info"):
            site.mkdir(exist_ok=True)
            (site / info.name).mkdir()
            shutil.copy(info / "METADATA", site / info.name)  # its version
    (site / "pycaffe.pth").write_text(PYCAFFE)
    (python / "dist-packages").symlink_to(site.name)  # Debian's name outside of venvs
    (python.parents[1] / "pyvenv.cfg").write_text(
        "include-system-site-packages = false\n"
    )


def copy_package(here: Path, name: str, site: Path) -> None:
    """Copies a package's folder from one site-packages to another, if there is one."""
    if (here / name).is_dir():
        patterns = [
            one.partition("/")[2]
            for one in NOT_OF_PACKAGES
            if one.split("/")[0] in ("*", name)
        ]
        patterns += [f"*/{one}" for one in patterns]
        copy_tree(here / name, site / name, patterns)


def copy_libraries(build: Path, libcaffe: str, files: list[Path], lib: Path) -> None:
    """Copies what files need, and libcaffe, to lib, with stand-ins for the uncalled."""
    original = (build / "lib" / libcaffe).resolve()
    where = located([original, *files, *python_library()])
    where[libcaffe] = original
    found = closure([original, *files, *python_library()], where.__getitem__)
    at: dict[Path, str] = {}
    for name, path in sorted(found.carried.items()):
        to = lib / ("gcc" if name in COMPILERS else "") / name
        if path in at:
            to.symlink_to(at[path])
        else:
            at[path] = name
            shutil.copy(path, to)
    users = [path for path in found.carried.values()]
    for name, path in found.stand_ins.items():
        make_stand_in(
            path, name, [u for u in users if name in needed_by(u)], lib / name
        )
    if found.nvidia:
        (lib / "nvidia").write_text("".join(f"{name}\n" for name in found.nvidia))


def python_library() -> list[Path]:
    """Returns libpython, which pycaffe is linked with."""
    folder = Path(sysconfig.get_config_var("LIBDIR"))
    names = (sysconfig.get_config_var("INSTSONAME"),)
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    paths = [place / n for place in (folder, folder / multiarch) for n in names]
    return [path for path in paths if path.exists()][:1]


def compile_python(program: Path) -> None:
    """Makes the interpreter: the distribution's has libpython built in once more."""
    source = program.with_suffix(".c")
    source.write_text(PYTHON_MAIN)
    output_of("gcc", "-O2", "-o", program, source, *python_library())
    source.unlink()


def strip(files: Iterable[Path]) -> None:
    """Removes what only debuggers and linkers read."""
    for file in files:
        if file.is_file() and not file.is_symlink():
            output_of("strip", "--strip-unneeded", file)


def add_launchers(folder: Path, caffe: Path, glibc: str, glibcxx: str) -> None:
    """Puts the launcher where programs are expected, and links to these in bin/."""
    launcher = folder / "selftest"
    output_of(
        "gcc", "-std=gnu11", "-O2", "-Wall", "-s", f'-DGLIBC="{glibc}"',
        f'-DGLIBCXX="{glibcxx}"', "-o", launcher, HERE / "launcher.c",
    )  # fmt: skip
    for program in (folder / "libexec").iterdir():
        is_python = program.name == "python"
        place = folder / ".venv" / "bin" if is_python else caffe / "bin"
        place.mkdir(exist_ok=True)
        os.link(launcher, place / program.name)
        link = folder / "bin" / ("python3" if is_python else program.name)
        link.symlink_to(os.path.relpath(place / program.name, link.parent))
    (folder / ".venv" / "bin" / "python3").symlink_to("python")


if __name__ == "__main__":
    try:
        fill(*(Path(word).resolve() for word in sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error.cmd[0]} failed: {error.stderr.strip()}")
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}")
