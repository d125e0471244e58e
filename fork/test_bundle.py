"""bundle.sh in pieces: launcher, libraries, stand-ins, sentences; no whole bundle."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from bundle import contents, libraries

FORK = Path(__file__).resolve().parent

# A program that says how it was started, and whether it finds a library.
PROGRAM = """\
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
int main(int count, char **given) {
  for (int i = 0; i < count; ++i) puts(given[i]);
  puts(getenv("LD_LIBRARY_PATH") ? "LD_LIBRARY_PATH" : "clean");
  puts(dlopen("libwanted.so.1", RTLD_NOW) ? "found" : "not found");
  return 7;
}
"""


def compile_c(text, out, *options):
    source = out.with_suffix(".c")
    source.write_text(text)
    subprocess.run(["gcc", "-o", out, source, *options], check=True)
    source.unlink()
    return out


class Bundle:
    """A folder with launchers for the program `show`, for Python and for selftest."""

    def __init__(self, root, glibc="2.2", glibcxx="GLIBCXX_3.4"):
        self.root = root
        for name in ("bin", "libexec", "lib/gcc", ".venv/bin"):
            (root / name).mkdir(parents=True)
        compile_c(PROGRAM, root / "libexec/show")
        shutil.copy(root / "libexec/show", root / "libexec/python")
        launcher = root / "selftest"
        macros = [f'-DGLIBC="{glibc}"', f'-DGLIBCXX="{glibcxx}"']
        source = (FORK / "bundle/launcher.c").read_text()
        compile_c(
            source, launcher, "-std=gnu11", "-Wall", "-Wextra", "-Werror", *macros
        )
        shutil.copy(launcher, root / "bin/show")
        shutil.copy(launcher, root / ".venv/bin/python")

    def run(self, name, *arguments, **environment):
        return subprocess.run(
            [self.root / name, *arguments],
            capture_output=True,
            text=True,
            env={"PATH": "/nowhere", **environment},
        )


@pytest.fixture
def bundle(tmp_path):
    return Bundle(tmp_path / "a bundle")


def test_a_program_finds_the_bundles_libraries_and_passes_on_none(bundle, tmp_path):
    assert bundle.run("bin/show").stdout.splitlines()[-1] == "not found"
    compile_c("int x;", bundle.root / "lib/libwanted.so.1", "-shared")
    link = tmp_path / "link"
    link.symlink_to(bundle.root / "bin/show")
    done = bundle.run(link, "one", "")
    assert done.returncode == 7
    assert done.stdout.splitlines() == [
        *(str(bundle.root / "bin/show"), "one", ""),
        *("clean", "found"),
    ]


def test_selftest_is_a_command_of_the_bundles_python(bundle):
    done = bundle.run("selftest", "--json", "x", PYTHONHOME="/elsewhere")
    root = bundle.root
    assert done.stdout.splitlines()[:5] == [
        f"{root}/.venv/bin/python",
        f"{root}/swwae/launch.py",
        *("selftest", "--json", "x"),
    ]
    assert bundle.run(".venv/bin/python").stdout.splitlines()[0] == (
        f"{root}/.venv/bin/python"
    )


def test_a_launcher_outside_of_a_bundle_says_so(bundle, tmp_path):
    shutil.copy(bundle.root / "bin/show", tmp_path / "show")
    done = bundle.run(tmp_path / "show")
    assert done.returncode == 2
    assert "show: " in done.stderr and "has left its bundle" in done.stderr


def test_an_older_c_library_is_refused(tmp_path):
    done = Bundle(tmp_path / "new", glibc="2.999").run("bin/show")
    assert done.returncode == 2
    assert re.fullmatch(
        r"show: this needs the C library glibc 2\.999 or later; this machine's is"
        r" [\d.]+\n",
        done.stderr,
    )


@pytest.mark.parametrize(
    "glibcxx, found", [("GLIBCXX_3.4", False), ("GLIBCXX_9.9", True)]
)
def test_carried_libstdcxx_is_for_machines_whose_own_is_older(tmp_path, glibcxx, found):
    bundle = Bundle(tmp_path / "new", glibcxx=glibcxx)
    compile_c("int x;", bundle.root / "lib/gcc/libwanted.so.1", "-shared")
    last = bundle.run("bin/show").stdout.splitlines()[-1]
    assert last == ("found" if found else "not found")


def make_nvidia(folder):
    folder.mkdir(parents=True)
    compile_c("int x;", folder / "libwanted.so.1", "-shared")
    return folder


@pytest.fixture
def cuda_bundle(bundle):
    (bundle.root / "lib/nvidia").write_text("libwanted.so.1\n")
    return bundle


def test_nvidias_libraries_are_named_by_hand(cuda_bundle, tmp_path):
    folder = make_nvidia(tmp_path / "nvidia")
    done = cuda_bundle.run("bin/show", NVIDIA_LIBS=f"/nowhere:{folder}")
    assert done.stdout.splitlines()[-2:] == ["clean", "found"]


def test_nvidias_libraries_are_those_of_a_python_on_path(cuda_bundle, tmp_path):
    python = tmp_path / "venv/bin/python3"
    python.parent.mkdir(parents=True)
    python.touch()
    make_nvidia(tmp_path / "venv/lib/python3.12/site-packages/nvidia/cudnn/lib")
    done = cuda_bundle.run("bin/show", PATH=f"/nowhere:{python.parent}")
    assert done.stdout.splitlines()[-1] == "found"


def test_missing_libraries_of_nvidia_are_named_to_all_but_python(cuda_bundle):
    done = cuda_bundle.run("bin/show")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "show: libwanted.so.1 of NVIDIA's libraries is neither in NVIDIA_LIBS, nor"
    )
    assert cuda_bundle.run(".venv/bin/python").returncode == 7


VERSIONS = "V_1 { global: reads; }; V_2 { global: count; };"


@pytest.fixture
def image_library(tmp_path):
    """libuser.so, which calls libgdal.so.1, which needs libmissing.so."""
    missing = compile_c(
        "int deep(void) { return 5; }", tmp_path / "libmissing.so", "-shared"
    )
    script = tmp_path / "script"
    script.write_text(VERSIONS)
    gdal = compile_c(
        "int deep(void); int count = 9; int reads(void) { return deep(); }",
        tmp_path / "libgdal.so.1",
        *(
            "-shared",
            "-fPIC",
            f"-Wl,--version-script={script}",
            "-Wl,-soname,libgdal.so.1",
        ),
        missing,
    )
    return compile_c(
        "extern int count; int reads(void); int both(void) { return reads() + count; }",
        tmp_path / "libuser.so",
        *("-shared", "-fPIC", gdal),
    )


def test_what_is_never_called_ends_the_closure(image_library):
    folder = image_library.parent
    found = libraries.closure([image_library], folder.__truediv__)
    assert found.carried == {}
    assert found.stand_ins == {"libgdal.so.1": folder / "libgdal.so.1"}


def test_a_stand_in_has_what_is_taken_of_it_and_does_nothing(image_library, tmp_path):
    lib = tmp_path / "lib"
    lib.mkdir()
    libraries.make_stand_in(
        tmp_path / "libgdal.so.1", "libgdal.so.1", [image_library], lib / "libgdal.so.1"
    )
    assert os.listdir(lib) == ["libgdal.so.1"]
    program = compile_c(
        "int both(void); int main(void) { return both(); }",
        tmp_path / "program",
        *(image_library, lib / "libgdal.so.1"),
    )
    done = subprocess.run(
        [program],
        env={"LD_LIBRARY_PATH": f"{lib}:{tmp_path}"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_nvidias_libraries_are_not_carried(monkeypatch):
    needs = {
        "program": ["libcaffe.so.1", "libc.so.6", "libcudnn.so.9"],
        "libcaffe.so.1": ["libcurl.so.4", "libopenblas.so.0", "libcudnn.so.9"],
        "libopenblas.so.0": ["libm.so.6"],
    }
    monkeypatch.setattr(libraries, "needed_by", lambda file: needs[file.name])
    found = libraries.closure([Path("program")], Path)
    assert set(found.carried) == {"libcaffe.so.1", "libopenblas.so.0"}
    assert set(found.stand_ins) == {"libcurl.so.4"}
    assert found.nvidia == ["libcudnn.so.9"]


def test_blas_and_lapack_are_openblas_where_that_is_linked(monkeypatch):
    needs = {
        "program": ["libopenblas.so.0", "liblapack.so.3"],
        "libopenblas.so.0": [],
        "liblapack.so.3": [],
    }
    monkeypatch.setattr(libraries, "needed_by", lambda file: needs[file.name])
    found = libraries.closure([Path("program")], Path)
    assert found.carried["liblapack.so.3"] == Path("libopenblas.so.0")
    del needs["program"][0]
    found = libraries.closure([Path("program")], Path)
    assert found.carried == {"liblapack.so.3": Path("liblapack.so.3")}


def test_the_newest_version_is_by_number(monkeypatch):
    text = """\
Version symbols section '.gnu.version' contains 3 entries:
Version needs section '.gnu.version_r' contains 1 entry:
  0x0010:   Name: GLIBC_2.9  Flags: none  Version: 5
  0x0020:   Name: GLIBC_2.34  Flags: none  Version: 4
  0x0030:   Name: GLIBCXX_3.4.30  Flags: none  Version: 4
"""
    monkeypatch.setattr(libraries, "output_of", lambda *command: text)
    assert libraries.newest_version([Path("x")], "GLIBC") == "2.34"
    assert libraries.newest_version([Path("x")], "GLIBCXX") == "3.4.30"


def test_a_package_is_copied_without_what_nothing_runs(tmp_path):
    here, site = tmp_path / "here", tmp_path / "site"
    for name in (
        "numpy/core/add.py",
        "numpy/f2py/cli.py",
        "numpy/core/tests/test_add.py",
        "numpy/__init__.pyi",
        "lmdb/f2py/kept.py",
    ):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).touch()
    for package in ("numpy", "lmdb", "absent"):
        contents.copy_package(here, package, site)
    copied = [str(p.relative_to(site)) for p in site.rglob("*") if p.is_file()]
    assert sorted(copied) == ["lmdb/f2py/kept.py", "numpy/core/add.py"]


@pytest.fixture
def clone(tmp_path):
    """A fresh clone without a build."""
    (tmp_path / "fork").mkdir()
    shutil.copy(FORK / "bundle.sh", tmp_path / "fork")
    return tmp_path


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ([], "name the file to write, such as caffe.tar.xz."),
        (["--cuda"], "name the file to write, such as caffe-cuda.tar.xz."),
        (["out.zip"], "name the file to write, such as caffe.tar.xz."),
        (["--gpu", "a.tar.xz"], "unknown argument --gpu."),
        (["a.tar.xz", "b.tar.xz"], "name one file, not a.tar.xz and b.tar.xz."),
        (["/nowhere/a.tar.xz"], "there is no folder /nowhere: make it first."),
        (["a.tar.xz"], "Caffe or its tests are not built: run fork/build.sh --tests."),
        (
            ["--cuda", "a.tar.xz"],
            "Caffe or its tests are not built: run fork/build.sh --cuda --tests.",
        ),
    ],
)
def test_what_is_wrong_is_a_sentence(clone, arguments, sentence):
    done = subprocess.run(
        [clone / "fork/bundle.sh", *arguments],
        cwd=clone,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"fork/bundle.sh: {sentence}"
    assert os.listdir(clone) == ["fork"]
