"""Self-test with stand-ins for Caffe's programs, its trainings with Caffe itself."""

import json
import os
import sys
from time import monotonic

import numpy as np
import pytest

from generator.errors import UserError
from swwae.commands import selftest
from swwae.selftest import card, card_sharing, checks, installation, layer_tests
from swwae.selftest.checks import Check, Failed, Finding
from swwae.selftest.programs import run, run_well
from swwae.selftest.trainings import Trainings, made_up_images, with_settings
from tests.helpers.fake_gpu import CARDS, write_caffe, write_program

LIST = """\
Cuda number of devices: 0
Current device name:
ATest/0.  # TypeParam = caffe::CPUDevice<float>
  TestOne
  TestTwo  # GetParam() = 7
ATest/2.  # TypeParam = caffe::GPUDevice<float>
  TestOne
  TestTwo
CuDNNTest/0.
  TestOne
  DISABLED_TestTwo
PlainTest.
  TestOne
SPPLayerTest/0.
  TestOne
"""

TESTS = f"""\
[ "$1" = --gtest_list_tests ] && {{ cat <<'END'
{LIST}END
exit 0; }}
echo "$CUDA_MPS_PIPE_DIRECTORY $1" >>"$CALLS"
touch "$TMPDIR/left behind" && echo "$TMPDIR" >>"$CALLS.folders"
code=0
for name in $(echo "${{1#--gtest_filter=}}" | tr : ' '); do
  echo "[ RUN      ] $name"
  case $name in $CRASHES)
    echo "F1124 06:20:42.123456 77 common.cpp:9] it fell" ; exit 134 ;; esac
  case $name in $FAILS) echo "[  FAILED  ] $name, where TypeParam = X (3 ms)"; code=1 ;;
  *) echo "[       OK ] $name (3 ms)" ;; esac
done
exit $code
"""


def soon():
    return monotonic() + 30


@pytest.fixture
def tests(tmp_path, monkeypatch):
    """A build whose tests do as CRASHES and FAILS say; returns the list of calls."""
    build = tmp_path / "build" / "caffe"
    write_caffe(build)
    write_program(build.with_name("caffe-obj") / "test" / "test.testbin", TESTS)
    build.with_name("caffe-src").mkdir()
    monkeypatch.setattr(layer_tests, "CAFFE", build / "bin" / "caffe")
    monkeypatch.setattr(card_sharing, "CONTROL", "no-such-program")
    calls = tmp_path / "calls"
    monkeypatch.setenv("CALLS", str(calls))
    for name in ("CRASHES", "FAILS", "CUDA_MPS_PIPE_DIRECTORY"):
        monkeypatch.setenv(name, "")
    return calls


def test_tests_are_listed_by_case_without_disabled_ones():
    assert layer_tests.listed(LIST) == [
        "ATest/0.TestOne",
        "ATest/0.TestTwo",
        "ATest/2.TestOne",
        "ATest/2.TestTwo",
        "CuDNNTest/0.TestOne",
        "PlainTest.TestOne",
        "SPPLayerTest/0.TestOne",
    ]


def test_the_cpu_runs_its_own_tests_and_no_unused_ones(tests):
    found = layer_tests.run_on_cpu(2, soon())
    assert found.detail == "3 tests passed (2 processes)"
    folders = set(tests.with_suffix(".folders").read_text().split())
    assert len(folders) == 1 and not any(map(os.path.exists, folders))
    calls = sorted(tests.read_text().split())
    assert calls == [
        "--gtest_filter=ATest/0.TestOne:PlainTest.TestOne",
        "--gtest_filter=ATest/0.TestTwo",
    ]


def test_a_test_that_ends_its_process_leaves_the_others(tests, monkeypatch):
    monkeypatch.setenv("CRASHES", "ATest/0.TestOne")
    with pytest.raises(Failed) as failed:
        layer_tests.run_on_cpu(1, soon())
    assert failed.value.detail == (
        "2 of 3 tests passed (1 processes); 1 ended a process, such as ATest/0.TestOne:"
        " it fell"
    )
    assert failed.value.data["ended_early"] == {"ATest/0.TestOne": "it fell"}


def test_what_fails_beside_others_on_a_card_is_tried_alone(tests, monkeypatch):
    monkeypatch.setenv("FAILS", "ATest/2.*")
    with pytest.raises(Failed) as failed:
        layer_tests.run_on_gpu(0, 3, soon())
    assert failed.value.detail == (
        "1 of 3 tests passed (2 processes, 2 of them tried again alone);"
        " failed: ATest/2.TestOne, ATest/2.TestTwo"
    )
    assert tests.read_text().split()[-1] == (
        "--gtest_filter=ATest/2.TestOne:ATest/2.TestTwo"
    )


def test_mps_is_ours_and_ended(tests, tmp_path, monkeypatch):
    control = write_program(
        tmp_path / "bin" / "mps-control",
        'echo "control $* $(cat) $CUDA_MPS_PIPE_DIRECTORY" >>"$CALLS"\n',
    )
    monkeypatch.setenv("PATH", f"{control.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(card_sharing, "CONTROL", "mps-control")
    found = layer_tests.run_on_gpu(0, 2, soon())
    assert found.detail == "3 tests passed (1 processes by MPS)"
    started, tested, ended = (line.split() for line in tests.read_text().splitlines())
    assert started[:2] == ["control", "-d"] and ended[:2] == ["control", "quit"]
    assert started[2] == tested[0] == ended[2]
    assert not os.path.exists(started[2])


def test_missing_tests_are_named_with_the_command(tmp_path, monkeypatch):
    program = write_caffe(tmp_path / "caffe-cuda")
    monkeypatch.setattr(layer_tests, "CAFFE", program)
    with pytest.raises(UserError, match=r"run fork/build\.sh --cuda --tests$"):
        layer_tests.find_tests()


def test_a_card_is_described_and_others_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(card, "CAFFE", write_caffe(tmp_path))
    found = card.describe(3, soon())
    assert found.detail.startswith("GPU 3 (NVIDIA A100), compute capability 8.0")
    with pytest.raises(Failed, match="invalid device ordinal"):
        card.describe(1, soon())
    # the stand-in says what Caffe asserts, as Caffe did once
    with pytest.raises(Failed, match="^no sentence for a number too high: "):
        card.refuses_in_sentences(soon())
    assert 3 in CARDS


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Lets tools/*.py write some JSON and end with a code."""

    def answer(content, code=0):
        (tmp_path / "tools").mkdir(exist_ok=True)
        for name in ("bench", "compare_gradients"):
            (tmp_path / "tools" / f"{name}.py").write_text(
                "import sys\n"
                f"open(sys.argv[-1], 'w').write({json.dumps(content)!r})\n"
                f"sys.exit({code})\n"
            )

    monkeypatch.setattr(card, "ROOT", tmp_path)
    return answer


def outcome(variant, l2, holds):
    difference = {"l2": l2, "l2_of": "fc8"}
    return {
        "variant": variant,
        "math": "fp32",
        "holds": holds,
        "differences": {"outputs": difference, "gradients": difference},
    }


def test_gradients_beyond_their_bound_fail(tool):
    tool([outcome("sae-all", 1e-6, True), outcome("swwae-all", 1e-5, True)])
    found = card.compare_gradients(0, "vgg8", (), soon())
    assert found.detail == (
        "vgg8: 2 comparisons, largest differences fp32 1.0e-05 (swwae-all outputs)"
    )
    tool([outcome("swwae-all", 0.1, False)], code=1)
    with pytest.raises(Failed, match="beyond the bound: swwae-all fp32$"):
        card.compare_gradients(0, "vgg8", (), soon())


def test_steps_are_timed_and_a_refused_side_fails(tool):
    ours = {"name": "cuDNN", "math": "fp32", "refused": None, "ms": 12.5}
    tool({"contenders": [ours]})
    found = card.time_steps(0, ("--net", "vgg8"), None, soon())
    assert found.detail == "a step of vgg8: cuDNN fp32 12.5 ms"
    other = {"name": "PyTorch fp32", "math": "fp32", "refused": "no torch"}
    tool({"contenders": [ours, other]})
    with pytest.raises(Failed, match=r"PyTorch fp32 refused: no torch$"):
        card.time_steps(0, ("--net", "vgg8"), None, soon())


def test_a_program_that_takes_too_long_is_ended():
    sleeper = [
        sys.executable,
        "-c",
        "import time; print('here', flush=True); time.sleep(60)",
    ]
    began = monotonic()
    done = run(sleeper, began + 1)
    assert done.code is None and monotonic() - began < 20
    with pytest.raises(Failed, match="not ended when its time was over"):
        run_well(sleeper, monotonic() + 0.5)


def test_checks_behind_one_that_is_needed_are_not_begun():
    def well(until):
        return Finding("fine")

    def ill(until):
        raise UserError("broken")

    outcomes = list(
        checks.run_all(
            [Check("a", well, 1), Check("b", ill, 1, needed=True), Check("c", well, 1)],
            60,
        )
    )
    assert [(o.name, o.passed, o.detail) for o in outcomes] == [
        ("a", True, "fine"),
        ("b", False, "broken"),
        ("c", False, "not begun, since b failed"),
    ]
    (late,) = checks.run_all([Check("a", well, 1)], 0)
    assert not late.passed and late.detail.startswith("not begun: the 0 s were over")


def test_made_up_images_show_their_labels():
    images = made_up_images(20, seed=1)
    assert images.images.shape == (20, 1, 32, 32)
    for image, label in zip(images.images, images.labels, strict=True):
        bright = np.argwhere(image[0] == 255)
        assert len(bright) == 64
        assert (bright.min(axis=0) // 8 @ [4, 1]) == label


def test_settings_take_the_place_of_others():
    text = with_settings("a: 1\nab: 2\na: 3\n", {"a": "4"})
    assert text == "ab: 2\na: 4\n"


def test_trainings_learn_and_repeat(tmp_path):
    trainings = Trainings(tmp_path, None)
    with pytest.raises(Failed, match="no weights to begin with"):
        trainings.repeat(soon())
    trainings.prepare(soon())
    found = trainings.learn(monotonic() + 120)
    assert found.data["accuracy"] >= 0.9
    assert "the same" in trainings.repeat(monotonic() + 120).detail


def test_generated_files_are_compared(tmp_path, monkeypatch):
    assert installation.generator_agrees(soon()).detail.startswith("35 files of vgg8")
    monkeypatch.setattr(installation, "ROOT", tmp_path)
    with pytest.raises(Failed, match="none of vgg8's files is here"):
        installation.generator_agrees(soon())
    changed = tmp_path / "models/vgg8/baseline/deploy.prototxt"
    changed.parent.mkdir(parents=True)
    changed.write_text("changed")
    with pytest.raises(Failed, match="1 of 1 files are generated differently"):
        installation.generator_agrees(soon())


@pytest.mark.parametrize("passes", [True, False])
def test_the_command_prints_a_line_a_check_and_writes_json(
    passes, tmp_path, monkeypatch, capsys
):
    def check(until):
        if not passes:
            raise Failed("it is not", {"n": 1})
        return Finding("it is", {"n": 2})

    monkeypatch.setattr(selftest, "_checks", lambda *_: [Check("whether", check, 1)])
    file = tmp_path / "found.json"
    assert selftest.main(["--json", str(file)]) == (0 if passes else 1)
    line, verdict = capsys.readouterr().out.splitlines()
    assert line == ("ok" if passes else "FAILED").ljust(6) + "   0.0 s  whether: " + (
        "it is" if passes else "it is not"
    )
    assert verdict.endswith("all passed" if passes else "1 of them FAILED")
    written = json.loads(file.read_text())
    assert written["passed"] is passes
    assert written["checks"][0]["data"] == {"n": 2 if passes else 1}


def test_libraries_come_from_the_python_that_has_torch(tmp_path, monkeypatch):
    folder = tmp_path / "lib/python3.12/site-packages/nvidia/cudnn/lib"
    folder.mkdir(parents=True)
    monkeypatch.setenv("NVIDIA_LIBS", "")  # as if it were not there
    monkeypatch.setattr(selftest, "_checks", lambda *_: [])
    python = tmp_path / "bin/python3"
    python.parent.mkdir()
    python.touch(0o755)
    monkeypatch.chdir(tmp_path)
    selftest.main(["--torch-python", "bin/python3"])
    assert os.environ["NVIDIA_LIBS"] == str(folder)
