"""Checks whether Caffe, pycaffe and the tools work on this machine, a line a check.

    selftest                  on the CPU; in a bundle of fork/bundle.sh
    selftest --cuda           on a card, too: right, the same every time, how fast
    tools/selftest.py         in a checkout, after fork/build.sh --tests

Data are made up, and everything is written to a temporary folder. Exits with 1 where a
check has failed. fork/README.md says more.
"""

import argparse
import os
import signal
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from swwae.base.arguments import at_least, gpu_number, program
from swwae.base.files import check_writable, write_json
from swwae.base.processes import cores
from swwae.base.program import FAILED
from swwae.base.project import CAFFE, require_caffe
from swwae.base.provenance import host, now, versions
from swwae.selftest import card, installation, layer_tests
from swwae.selftest.checks import Check, Outcome, run_all
from swwae.selftest.trainings import Trainings

PROGRAM = "selftest"

SECONDS = {False: 180, True: 360}
"""That all checks may take, without a card and with one."""

VGG16_STEP = ("--net", "vgg16", "--variant", "swwae-all", "--stage", "4")
VGG16_STEP += ("--batch", "64", "--rounds", "2", "--seconds", "1")
VGG8_STEP = ("--net", "vgg8", "--batch", "64", "--rounds", "2", "--seconds", "0.5")

LIBRARIES = "NVIDIA_LIBS"
"""The environment variable that names folders of NVIDIA's libraries to a bundle."""


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the programs, too
    if options.json:
        check_writable(options.json)
    require_caffe()
    if options.torch_python and not os.environ.get(LIBRARIES):
        _use_libraries_of(options.torch_python)
    outcomes = []
    with TemporaryDirectory(prefix="selftest-") as name:
        checks = _checks(options, Path(name))
        for outcome in run_all(checks, options.seconds or SECONDS[options.cuda]):
            print(_line(outcome), flush=True)
            outcomes.append(outcome)
    failed = [one for one in outcomes if not one.passed]
    seconds = sum(one.seconds for one in outcomes)
    verdict = f"{len(failed)} of them FAILED" if failed else "all passed"
    print(f"{len(outcomes)} checks in {seconds:.0f} s: {verdict}")
    if options.json:
        write_json(options.json, _record(outcomes, options))
    return FAILED if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--cuda", action="store_true", help="check a card")
    parser.add_argument(
        "--gpu",
        type=gpu_number,
        default=0,
        metavar="N",
        help="the card's number (default: %(default)s)",
    )
    parser.add_argument(
        "--torch-python",
        type=program,
        metavar="FILE",
        help="a Python with PyTorch, which is timed beside Caffe",
    )
    parser.add_argument(
        "--seconds",
        type=at_least(1),
        metavar="N",
        help=f"that all may take (default: {SECONDS[False]}, with --cuda"
        f" {SECONDS[True]})",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also written here")
    return parser


def _checks(options: argparse.Namespace, folder: Path) -> list[Check]:
    trainings = Trainings(folder, options.gpu if options.cuda else None)
    checks = [Check("programs", installation.programs_start, 30, needed=True)]
    if options.cuda:
        checks += [
            Check("card", partial(card.describe, options.gpu), 30, needed=True),
            Check("sentences", card.refuses_in_sentences, 30),
        ]
    checks += [
        Check("generator", installation.generator_agrees, 30),
        Check("data", trainings.prepare, 30),
        Check("training", trainings.learn, 60),
        Check("repeats", trainings.repeat, 60),
    ]
    if not options.cuda:
        tests = partial(layer_tests.run_on_cpu, cores())
        return [*checks, Check("layers' tests", tests, SECONDS[False])]
    gpu, compare, step = options.gpu, card.compare_gradients, card.time_steps
    torch = options.torch_python
    tests = partial(layer_tests.run_on_gpu, gpu, cores())
    return [
        *checks,
        Check("layers' tests", tests, 110),
        Check("gradients", partial(compare, gpu, "vgg8", ()), 60),
        Check("gradients", partial(compare, gpu, "vgg16", ("swwae-all",)), 60),
        Check("time", partial(step, gpu, VGG16_STEP, torch), 120),
        Check("time", partial(step, gpu, VGG8_STEP, torch), 50),
    ]


def _use_libraries_of(python: Path) -> None:
    """Lets Caffe use the libraries of another Python's packages, where it has some."""
    prefix = python.absolute().parent.parent
    found = sorted(prefix.glob("lib/python3*/site-packages/nvidia/*/lib"))
    if found:
        os.environ[LIBRARIES] = os.pathsep.join(map(str, found))


def _line(outcome: Outcome) -> str:
    verdict = "ok" if outcome.passed else "FAILED"
    return f"{verdict:6} {outcome.seconds:5.1f} s  {outcome.name}: {outcome.detail}"


def _record(outcomes: list[Outcome], options: argparse.Namespace) -> dict:
    return {
        "when": now(),
        "passed": all(one.passed for one in outcomes),
        "cuda": options.cuda,
        "versions": versions(CAFFE),
        "host": host(),
        "checks": [vars(one) for one in outcomes],
    }
