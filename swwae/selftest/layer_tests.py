"""The C++ tests of the layers, dealt out to processes."""

import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from time import monotonic
from typing import IO

from generator.errors import UserError
from swwae.base.processes import end_with_parent
from swwae.base.project import BUILD_COMMAND, CAFFE, ROOT
from swwae.engine.log import fatal_messages
from swwae.selftest.card_sharing import shared_card
from swwae.selftest.checks import Failed, Finding

PROGRAM = "test.testbin"

ON_GPU = re.compile(r"/[23]\.|GPU|CuDNN|Im2colKernelTest")
"""Tests that compute on a GPU: fork/build.sh's `gpu_instances`."""

TAKES_GPU = {"CommonTest.TestBrewMode", "PlatformTest.TestInitialization"}
"""Tests that do, too, whatever their names say."""

NOT_USED = re.compile(
    r"(AdaDelta|AdaGrad|Adam|ArgMax|BatchReindex|Contrastive|CropLayer|Embed|Filter"
    r"|HDF5|Hinge|Infogain|LSTM|MultinomialLogistic|Nesterov|RMSProp|RNN"
    r"|RandomNumberGenerator|Reduction|SPP|SigmoidCrossEntropy|Slice|Tile)"
)
"""Cases of upstream's about layers and solvers that no network here has."""

MOST_PROCESSES = 13
"""On one card."""

TOGETHER = 0.8
"""Of the time, before those that did not pass are tried alone."""

MOST_NAMED = 5
"""Tests in a sentence."""

RUN = re.compile(r"^\[ RUN      \] (\S+)")
RESULT = re.compile(r"^\[ +(OK|FAILED) +\] ([^\s,]+)(?:, where .*)? \(\d+ ms\)$")


@dataclass(frozen=True)
class Tests:
    """The program, and the folder where it finds its data."""

    program: Path
    folder: Path


@dataclass
class Results:
    """Names of tests. last_words: why a process ended early, by the test it was in."""

    passed: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    last_words: dict[str, str] = field(default_factory=dict)

    @property
    def known(self) -> set[str]:
        """Returns the tests that have begun."""
        return self.passed | self.failed | self.last_words.keys()

    def add(self, others: "Results") -> None:
        """Adds the results of other tests."""
        self.passed |= others.passed
        self.failed |= others.failed
        self.last_words |= others.last_words

    def read(self, lines: Iterable[str]) -> None:
        """Adds what a process of the tests has written."""
        lines = list(lines)
        running = None
        for line in lines:
            if match := RUN.match(line):
                running = match[1]
            elif match := RESULT.match(line):
                (self.passed if match[1] == "OK" else self.failed).add(match[2])
                running = None
        if running is not None:
            self.last_words[running] = (fatal_messages(lines) or ["no result"])[-1]


def find_tests() -> Tests:
    """Returns the tests of the build that is used, in a bundle or in a checkout.

    Raises UserError where they are not built.
    """
    build = CAFFE.parents[1]
    name = build.name.removeprefix("caffe")
    objects = build.with_name(f"caffe-obj{name}") / "test"
    places = [
        Tests(CAFFE.parent / PROGRAM, ROOT / "share" / "caffe"),
        Tests(objects / PROGRAM, build.with_name(f"caffe-src{name}")),
    ]
    for place in places:
        if place.program.is_file() and place.folder.is_dir():
            return place
    option = " --cuda" if name == "-cuda" else ""
    raise UserError(
        f"the tests of {build} are not built: run {BUILD_COMMAND}{option} --tests"
    )


def run_on_cpu(processes: int, until: float) -> Finding:
    """Runs the tests that compute on the CPU; raises Failed where one fails."""
    tests = find_tests()
    names = [
        name
        for name in list_tests(tests)
        if not ON_GPU.search(name) and name not in TAKES_GPU
    ]
    environment = {"OMP_NUM_THREADS": "1"}  # as many as processes, on all cores
    results = _run(tests, names, processes, environment, until)
    return _judge(names, results, f"{processes} processes")


def run_on_gpu(gpu: int, cores: int, until: float) -> Finding:
    """Runs the tests that compute on a GPU, in processes that share the card.

    What does not pass there runs once more alone, without MPS. Raises Failed where one
    fails then. gpu: its number.
    """
    tests = find_tests()
    names = [
        name for name in list_tests(tests) if ON_GPU.search(name) or name in TAKES_GPU
    ]
    processes = max(1, min(cores - 1, MOST_PROCESSES))
    environment = {
        "CAFFE_CUDNN_CACHE": "",  # every shape is measured
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": _visible(gpu),
    }
    begun = monotonic()
    with shared_card() as where:
        sharing = environment | (where or {})
        together = begun + TOGETHER * (until - begun)
        results = _run(tests, names, processes, sharing, together)
    how = f"{processes} processes{' by MPS' if where else ''}"
    again = [name for name in names if name not in results.passed]
    if again:
        how += f", {len(again)} of them tried again alone"
        results = Results(passed=results.passed)
        results.add(_run(tests, again, 1, environment, until))
    return _judge(names, results, how)


def list_tests(tests: Tests) -> list[str]:
    """Returns the names of all tests that the networks need, Case.Test.

    Raises UserError where the program does not run.
    """
    done = subprocess.run(
        [tests.program, "--gtest_list_tests"],
        cwd=tests.folder,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode:
        said = (done.stderr.splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UserError(f"{tests.program.name} does not run: {said}")
    return [name for name in listed(done.stdout) if not NOT_USED.match(name)]


def listed(text: str) -> list[str]:
    """Returns the tests that --gtest_list_tests lists, but those that are disabled."""
    case, names = None, []
    for line in text.splitlines():
        word = line.partition("#")[0].rstrip()
        if not word.startswith(" "):
            case = word if re.fullmatch(r"[\w/]+\.", word) else None
        elif case is not None and "DISABLED_" not in case + word:
            names.append(case + word.strip())
    return names


def _visible(gpu: int) -> str:
    """Returns CUDA_VISIBLE_DEVICES with which `gpu` is the first one."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return str(gpu) if not visible else visible.split(",")[gpu]


def _start(
    tests: Tests, names: Sequence[str], environment: Mapping[str, str], log: IO[str]
) -> subprocess.Popen:
    return subprocess.Popen(
        [tests.program, f"--gtest_filter={':'.join(names)}"],
        cwd=tests.folder,
        env=os.environ | dict(environment) | {"GLOG_minloglevel": "0"},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        preexec_fn=end_with_parent,
    )


def _run(
    tests: Tests,
    names: Sequence[str],
    processes: int,
    environment: Mapping[str, str],
    until: float,
) -> Results:
    """Returns the results of tests dealt out to processes: neighbours, which take as
    long as each other, to different ones. A test that ends its process leaves the
    others of that share to new processes."""
    results = Results()
    left = list(names)
    while left and monotonic() < until:
        shares = [left[i::processes] for i in range(processes)]
        for lines in _all_lines(tests, [s for s in shares if s], environment, until):
            results.read(lines)
        before, left = left, [name for name in left if name not in results.known]
        if len(left) == len(before):
            break  # none has begun
    return results


def _all_lines(
    tests: Tests,
    shares: Sequence[Sequence[str]],
    environment: Mapping[str, str],
    until: float,
) -> list[list[str]]:
    logs = [TemporaryFile("w+", encoding="utf-8", errors="replace") for _ in shares]
    running = []
    try:
        for share, log in zip(shares, logs, strict=True):
            running.append(_start(tests, share, environment, log))
        for process in running:
            try:
                process.wait(max(until - monotonic(), 0))
            except subprocess.TimeoutExpired:
                process.kill()
        written = []
        for process, log in zip(running, logs, strict=True):
            process.wait()
            log.seek(0)
            written.append(log.read().splitlines())
        return written
    finally:
        for process in running:
            process.kill()
            process.wait()
        for log in logs:
            log.close()


def _judge(names: Sequence[str], results: Results, how: str) -> Finding:
    """Returns what is found where all have passed; raises Failed otherwise."""
    bad = [name for name in names if name not in results.passed]
    unknown = [
        n for n in bad if n not in results.failed and n not in results.last_words
    ]
    data = {
        "tests": len(names),
        "passed": len(results.passed),
        "failed": sorted(results.failed),
        "ended_early": results.last_words,
        "without_result": unknown,
    }
    if not names:
        raise Failed("there are no such tests in this build", data)
    if not bad:
        return Finding(f"{len(names)} tests passed ({how})", data)
    parts = [f"{len(results.passed)} of {len(names)} tests passed ({how})"]
    if results.failed:
        parts.append(f"failed: {_some(sorted(results.failed))}")
    if results.last_words:
        named, words = next(iter(results.last_words.items()))
        parts.append(
            f"{len(results.last_words)} ended a process, such as {named}: {words}"
        )
    if unknown:
        parts.append(f"{len(unknown)} without a result, such as {unknown[0]}")
    raise Failed("; ".join(parts), data)


def _some(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
