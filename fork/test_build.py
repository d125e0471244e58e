"""build.sh with stand-ins for apt, CMake and make: packages, paths, sentences."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.helpers.build_project import (
    CMAKE,
    CMAKE_WORKS,
    ENDED_AFTER_PACKAGES,
    MAKE,
    TESTS,
    Project,
    write_program,
)

DEFINES = "#define DNNL_VERSION_MAJOR {}\n#define DNNL_VERSION_MINOR {}\n"


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


@pytest.fixture
def sanitized(project):
    """A project whose sanitized build goes well."""
    project.write("fork/prepare.py", "import os, sys\nos.makedirs(sys.argv[1])\n")
    tests = project.programs.parent / "tests"
    write_program(tests, TESTS)
    write_program(project.programs / "make", MAKE.replace("$TESTS", str(tests)))
    write_program(project.programs / "cmake", CMAKE_WORKS)
    # With the oneDNN that is wanted, so that none is unpacked.
    defines = DEFINES.format(2, 6)
    write_program(project.programs / "g++", f"printf '%s' '{defines}'\n")
    return project


def test_root_gets_missing_packages_in_a_fresh_clone(project):
    project.miss("libgflags-dev", "ccache")
    done = project.build(PREPARE_ENDS=str(ENDED_AFTER_PACKAGES))
    assert done.returncode == ENDED_AFTER_PACKAGES
    assert done.stdout == "installing Debian packages: ccache libgflags-dev\n"
    assert done.stderr == ""
    update, install = project.calls.read_text().splitlines()
    assert update == "apt-get -qq update"
    assert install.endswith(" ccache libgflags-dev") and " install -y " in install


def test_without_onednn_its_package_is_not_asked_for(project):
    project.miss("ocl-icd-libopencl1", "ccache")
    done = project.build(user=1000, DNNL="OFF")
    assert done.stderr.endswith("run: sudo apt-get install ccache\n")
    done = project.build(user=1000)
    assert done.stderr.endswith("run: sudo apt-get install ccache ocl-icd-libopencl1\n")


@pytest.mark.parametrize(
    ("version", "machine", "unpacked"),
    [
        ((2, 6), "x86_64-linux-gnu", False),
        ((2, 7), "x86_64-linux-gnu", False),
        ((2, 5), "x86_64-linux-gnu", True),
        ((3, 7), "x86_64-linux-gnu", True),
        (None, "x86_64-linux-gnu", True),
        (None, "aarch64-linux-gnu", False),
    ],
)
def test_onednn_is_the_systems_where_that_is_the_one(
    project, version, machine, unpacked
):
    defines = DEFINES.format(*version) if version else ""
    write_program(
        project.programs / "g++",
        f"case $* in *multiarch*) echo {machine}; exit;; *-fsyntax-only*) exit;; esac\n"
        f"printf '%s' '{defines}'\n[ -n '{defines}' ]\n",
    )
    write_program(
        project.programs / "cmake",
        'for word; do case $word in -[DU]DNNL_*) echo "$word" >>"$CALLS"; esac; done\n'
        "exit 1\n",
    )
    project.build()
    folder = project.root / "build/onednn/usr"
    library = folder / "lib/x86_64-linux-gnu/libdnnl.so"
    assert project.calls.read_text().splitlines() == (
        [f"-DDNNL_INCLUDE_DIR={folder}/include", f"-DDNNL_LIBRARY={library}"]
        if unpacked
        else ["-UDNNL_INCLUDE_DIR", "-UDNNL_LIBRARY"]
    )


def test_fetching_makes_the_downloads_and_builds_nothing(project):
    note = (
        'import os, sys\nopen(os.environ["CALLS"], "a").write(f"{sys.argv[1:]}\\n")\n'
    )
    project.write("fork/prepare.py", note)
    write_program(project.root / "tools/venv.sh", 'echo venv >>"$CALLS"')
    done = project.build("--fetch")
    assert (done.returncode, done.stderr) == (0, "")
    assert project.calls.read_text() == "venv\n['--fetch']\n"


def test_onednn_that_cannot_be_had_ends_the_build(project):
    write_program(project.programs / "g++", "echo x86_64-linux-gnu\n")
    project.write(
        "fork/onednn.py",
        "import sys\nsys.exit('fork/build.sh: Downloading oneDNN failed.')\n",
    )
    done = project.build()
    assert done.returncode == 1
    assert done.stderr == "fork/build.sh: Downloading oneDNN failed.\n"
    assert project.calls.read_text() == ""


@pytest.mark.parametrize("chosen", [{}, {"DNNL": "OFF"}])
def test_cmake_is_told_whether_onednn_is_wanted(project, chosen):
    write_program(
        project.programs / "cmake",
        'for word; do case $word in -DUSE_DNNL=*) echo "$word" >>"$CALLS"; esac; done\n'
        "exit 1\n",
    )
    project.build(**chosen)
    assert project.calls.read_text() == f"-DUSE_DNNL={chosen.get('DNNL', 'ON')}\n"


def test_onednn_is_on_or_off(project):
    done = project.build(DNNL="maybe")
    assert done.returncode == 2 and project.calls.read_text() == ""
    assert done.stderr == (
        "fork/build.sh: DNNL in the environment is maybe;"
        " it can be ON, the default, or OFF.\n"
    )


def test_nothing_is_installed_where_all_is_there(project):
    done = project.build(PREPARE_ENDS=str(ENDED_AFTER_PACKAGES))
    assert done.returncode == ENDED_AFTER_PACKAGES
    assert (done.stdout, done.stderr, project.calls.read_text()) == ("", "", "")


@pytest.mark.parametrize("character", list("'\"`$\\;:&|<>()[]*?#%\n"))
def test_a_path_that_cannot_be_built_in_is_refused_at_once(tmp_path, character):
    project = Project(tmp_path / f"odd{character}place")
    project.miss("ccache")
    done = project.build()
    assert done.returncode == 2
    assert done.stdout == "" == project.calls.read_text()
    assert done.stderr.startswith(f"fork/build.sh: {project.root} cannot be built in")
    assert not (project.root / "build").exists()


def test_others_are_told_the_command(project):
    project.miss("libgflags-dev", "ccache")
    done = project.build(user=1000)
    assert done.returncode == 2 and done.stdout == "" == project.calls.read_text()
    assert done.stderr == (
        "fork/build.sh: Debian packages are missing;"
        " run: sudo apt-get install ccache libgflags-dev\n"
    )


def test_apts_complaint_is_passed_on(project):
    project.miss("ccache")
    done = project.build(APT_FAILS="no space left")
    assert done.returncode == 1
    assert done.stderr == (
        "fork/build.sh: installing them failed (E: no space left);"
        " mend that, or run: apt-get update && apt-get install ccache\n"
    )


@pytest.mark.parametrize("given", ["trees/caffe", "./trees/caffe", "trees/my caffe"])
def test_a_relative_source_is_found_from_where_the_person_is(project, tmp_path, given):
    (tmp_path / given).mkdir(parents=True)
    project.write(
        "fork/prepare.py",
        "import os, sys\n"
        'sys.exit(0 if os.path.isdir(os.environ["CAFFE_SOURCE"]) else 3)\n',
    )
    done = project.build(cwd=tmp_path, CAFFE_SOURCE=given)
    assert "cmake: clean objects" in project.calls.read_text(), done.stderr


@pytest.mark.parametrize("given", ["/somewhere/caffe", "~/caffe", ""])
def test_other_sources_are_handed_on_as_they_are(project, tmp_path, given):
    project.write(
        "fork/prepare.py", 'import os\nprint(os.environ["CAFFE_SOURCE"], "is it")\n'
    )
    # Printed as the fingerprint first, which is captured, then as the preparation.
    done = project.build(cwd=tmp_path, CAFFE_SOURCE=given)
    assert done.stdout == f"{given} is it\n"


@pytest.mark.parametrize("moved", [False, True])
def test_objects_of_a_moved_checkout_are_not_used(project, moved):
    root = Path("/where/it/was") if moved else project.root
    project.write(
        "build/caffe-obj/CMakeCache.txt",
        f"//\nCMAKE_HOME_DIRECTORY:INTERNAL={root}/build/caffe-src\n",
    )
    project.write("build/caffe-obj/half.o", "")
    done = project.build()
    assert done.returncode == 1 and "configuring failed: CMake Error" in done.stderr
    state = "clean" if moved else "old"
    assert project.calls.read_text() == f"cmake: {state} objects\n"
    assert (project.root / "build/caffe-obj/half.o").exists() == (not moved)


def test_through_a_link_the_objects_are_the_same(project, tmp_path):
    project.write(
        "build/caffe-obj/CMakeCache.txt",
        f"CMAKE_HOME_DIRECTORY:INTERNAL={project.root}/build/caffe-src\n",
    )
    (tmp_path / "link").symlink_to(project.root)
    project.root = tmp_path / "link"
    project.build()
    assert project.calls.read_text() == "cmake: old objects\n"


def test_the_path_to_the_source_is_one_word_to_the_compiler(project):
    write_program(
        project.programs / "cmake",
        'for word; do case $word in -DCMAKE_CXX_FLAGS=*) echo "${word#*=}" >>"$CALLS"\n'
        "esac; done; exit 1\n",
    )
    project.build()
    flags = project.calls.read_text().strip()
    # As make's shell takes CMake's flags apart.
    words = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {flags}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert words == [
        f"-fmacro-prefix-map={project.root}/build/caffe-src/=",
        "-fno-trapping-math",
    ]


def test_sanitized_tests_run_in_one_thread_and_in_several(sanitized):
    sanitized.write("build/caffe/made-from", "an earlier build")
    done = sanitized.build("--sanitize")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("[  PASSED  ]") == 2
    *options, make, one, several = sanitized.calls.read_text().splitlines()
    assert (make, one, several) == ("make test.testbin", "tests in 1", "tests in 4")
    [flags] = [x for x in options if x.startswith("-DCMAKE_CXX_FLAGS_RELEASE=")]
    assert " -fsanitize=address,undefined" in flags
    [tests] = [x for x in options if x.startswith("-DBUILD_only_tests=")]
    assert ",depooling_layer," in tests and ",convolution_layer," not in tests
    # Nothing of the normal build is made, touched or taken.
    assert (sanitized.root / "build/caffe/made-from").read_text() == "an earlier build"
    assert {path.name for path in (sanitized.root / "build").iterdir()} == {
        "caffe",
        "caffe.lock",
        "caffe-build-sanitized.log",
        "caffe-obj-sanitized",
        "caffe-src-sanitized",
        "caffe-tests-sanitized-1.log",
        "caffe-tests-sanitized-4.log",
    }


@pytest.mark.parametrize(
    ("which", "wanted"), [("--tests=used", ",convolution_layer,"), ("--tests=all", "=")]
)
def test_other_tests_are_sanitized_on_demand(sanitized, which, wanted):
    assert sanitized.build(which, "--sanitize").returncode == 0
    [tests] = [x for x in sanitized.calls.read_text().splitlines() if "only_tests" in x]
    assert wanted in tests if wanted != "=" else tests == "-DBUILD_only_tests="


@pytest.mark.parametrize("threads", ["1", "4"])
def test_a_failed_sanitized_test_names_the_log(sanitized, threads):
    done = sanitized.build("--sanitize", FAILS_IN=threads)
    log = sanitized.root / f"build/caffe-tests-sanitized-{threads}.log"
    assert done.returncode == 1
    assert done.stderr == (
        "[  FAILED  ] a test\n"
        "fork/build.sh: the tests with sanitizers and"
        f" OMP_NUM_THREADS={threads} failed. The whole log: {log}\n"
    )
    assert "[  FAILED  ] a test" in log.read_text()


@pytest.mark.parametrize(
    "finding",
    [
        "==7==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x603000000040",
        "==7==ERROR: LeakSanitizer: detected memory leaks",
        "a.cpp:1:2: runtime error: signed integer overflow",
    ],
)
def test_a_finding_is_a_failure_though_all_tests_pass(sanitized, finding):
    done = sanitized.build("--sanitize", SAYS=finding)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{finding}\nfork/build.sh: the tests with")
    assert done.stderr.endswith("build/caffe-tests-sanitized-1.log\n")


CLANG = ("clang-19", "libclang-rt-19-dev", "libomp-19-dev")


def test_clang_is_asked_for_by_fuzzing_alone(project):
    done = project.build("--sanitize=fuzz", user=1000)
    assert done.returncode == 2
    assert done.stderr.endswith(f"run: sudo apt-get install {' '.join(CLANG)}\n")


def test_sanitizers_get_the_persons_options_last(sanitized):
    sanitized.build("--sanitize", UBSAN_OPTIONS="halt_on_error=0")
    log = (sanitized.root / "build/caffe-tests-sanitized-4.log").read_text()
    # In quotes, since the path holds a space.
    assert f"suppressions='{sanitized.root}/fork/leaks.supp':" in log
    assert "halt_on_error=1:halt_on_error=0" in log


@pytest.mark.parametrize("sanitize", [False, True])
def test_each_build_is_cleaned_alone(sanitized, sanitize):
    for name in ("caffe-obj", "caffe-obj-sanitized", "caffe"):
        sanitized.write(f"build/{name}/old", "")
    write_program(sanitized.programs / "cmake", CMAKE)
    sanitized.build("--clean", *["--sanitize"] * sanitize)
    left = {path.parent.name for path in (sanitized.root / "build").glob("*/old")}
    assert left == ({"caffe-obj", "caffe"} if sanitize else {"caffe-obj-sanitized"})


NVCC = """\
case $1 in
  --version) echo "Cuda compilation tools, release ${RELEASE-13.0}, V1" ;;
  --list-gpu-arch) printf 'compute_%s\\n' 75 80 90 100 120 ;;
esac
"""
CUDA_OPTIONS = """\
for word; do
  case $word in -DCPU_ONLY=* | -DCUDA_ARCHITECTURES=*) echo "$word" >>"$CALLS"; esac
done
exit 1
"""


@pytest.fixture
def cuda(project):
    """A project with CUDA's compiler, and no card."""
    write_program(project.programs / "nvcc", NVCC)
    write_program(project.programs / "cmake", CUDA_OPTIONS)
    return project


def test_without_cuda_the_build_is_for_the_cpu(cuda):
    cuda.build()
    assert cuda.calls.read_text() == "-DCPU_ONLY=ON\n"


@pytest.mark.parametrize(
    ("cards", "chosen", "architectures"),
    [
        ("exit 9", {}, "80;90;100;120"),
        ("printf '9.0\\n9.0\\n8.0\\n'", {}, "80;90"),
        ("echo 9.0", {"CUDA_ARCHITECTURES": "100;90-virtual"}, "100;90-virtual"),
    ],
)
def test_architectures_are_those_of_the_cards(cuda, cards, chosen, architectures):
    write_program(cuda.programs / "nvidia-smi", cards + "\n")
    cuda.build("--cuda", **chosen)
    assert cuda.calls.read_text() == (
        f"-DCPU_ONLY=OFF\n-DCUDA_ARCHITECTURES={architectures}\n"
    )


def test_the_wheels_compiler_is_taken_before_the_systems(cuda):
    wheels = cuda.root / ".venv/lib/python3.11/site-packages/nvidia"
    (wheels / "cu13/bin").mkdir(parents=True)
    write_program(wheels / "cu13/bin/nvcc", 'echo wheel >>"$CALLS"\n' + NVCC)
    cuda.build("--cuda", CUDA_ARCHITECTURES="90")
    assert "wheel" in cuda.calls.read_text()


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        (["--tests=gpu"], {}, "--tests=gpu goes with --cuda."),
        (["--cuda", "--sanitize"], {}, "--sanitize is for the CPU build"),
        (["--cuda"], {"RELEASE": "11.8"}, "is of CUDA 11.8; it can be 12 or 13."),
        (
            ["--cuda"],
            {"CUDA_ARCHITECTURES": "61"},
            "nvcc of CUDA 13.0 does not know compute capability 61; it knows 75 80 90"
            " 100 120. Choose with CUDA_ARCHITECTURES.",
        ),
    ],
)
def test_what_cuda_cannot_do_is_a_sentence(cuda, arguments, environment, sentence):
    done = cuda.build(*arguments, **environment)
    assert done.returncode == 2 and sentence in done.stderr
    assert done.stderr.count("\n") == 1 and cuda.calls.read_text() == ""


def test_without_nvcc_the_commands_are_said(project, tmp_path):
    folders = os.environ["PATH"].split(os.pathsep)
    without = [folder for folder in folders if not Path(folder, "nvcc").exists()]
    done = project.build(
        "--cuda",
        PATH=os.pathsep.join([str(project.programs), *without]),
        CUDACXX="",
        CUDA_HOME=str(tmp_path),
    )
    assert done.returncode == 2 and "nvcc is neither in PATH" in done.stderr
    assert "pip install -e '.[cuda13]'" in done.stderr
