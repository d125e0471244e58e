"""What a card computes, and how fast: the commands that compare it, as checks."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from swwae.base.project import CAFFE, ROOT
from swwae.engine import devices
from swwae.engine.cards import Card, record
from swwae.engine.log import fatal_messages, parse_line
from swwae.selftest.checks import Failed, Finding
from swwae.selftest.programs import Done, how_it_ended, run

LOGGED = {"GLOG_logtostderr": "1", "GLOG_minloglevel": "0"}

NO_SUCH_CARD = 99

ASSERTION = "Check failed"
"""Where Caffe says what it asserts, instead of what is wrong."""


def describe(gpu: int, until: float) -> Finding:
    """Finds the card; raises Failed, with Caffe's words, where it cannot be used."""
    done = run([CAFFE, "device_query", f"--gpu={gpu}"], until, LOGGED)
    if done.code != 0:
        raise Failed(f"caffe device_query {how_it_ended(done)}")
    cards = [
        c for c in map(parse_line, done.stderr.splitlines()) if isinstance(c, Card)
    ]
    if not cards:
        raise Failed("caffe device_query does not describe the card", done.stderr)
    card = cards[0]
    version = devices.driver()
    driver = f"driver {version} for" if version else "driver for"
    return Finding(
        f"{card}, compute capability {card.capability}, {card.megabytes} MB, {driver}"
        f" CUDA {card.driver}, CUDA {card.cuda}, cuDNN {card.cudnn}",
        record([card], version),
    )


def refuses_in_sentences(until: float) -> Finding:
    """Asks for cards that are not there; raises Failed unless sentences are the
    answer."""
    tries = [
        ("a number too high", ["device_query", f"--gpu={NO_SUCH_CARD}"], {}),
        ("hidden cards", ["device_query", "--gpu=0"], {"CUDA_VISIBLE_DEVICES": ""}),
    ]
    said, wrong = {}, []
    for what, arguments, environment in tries:
        done = run([CAFFE, *arguments], until, LOGGED | environment)
        fatal = fatal_messages(done.stderr.splitlines())
        said[what] = fatal[-1] if fatal else done.last_words
        if done.code == 0 or not fatal or ASSERTION in fatal[-1]:
            wrong.append(what)
    detail = "; ".join(f"{what}: {words}" for what, words in said.items())
    if wrong:
        raise Failed(f"no sentence for {' and '.join(wrong)}: {detail}", said)
    return Finding(detail, said)


def compare_gradients(
    gpu: int, net: str, variants: Sequence[str], until: float
) -> Finding:
    """Compares losses and gradients with the CPU's by tools/compare_gradients.py.

    variants: none for all. Raises Failed where a difference is beyond its bound.
    """
    chosen = ["--variant", ",".join(variants)] if variants else []
    done, found = _tool(
        "compare_gradients", ["--gpu", str(gpu), "--net", net, *chosen], until
    )
    if not found:
        raise Failed(f"compare_gradients.py {how_it_ended(done)}", done.stdout)
    worst: dict[str, tuple[float, str]] = {}
    for one in found:
        for part, difference in one["differences"].items():
            where = f"{one['variant']} {part}"
            worst[one["math"]] = max(
                worst.get(one["math"], (0.0, "")), (difference["l2"], where)
            )
    beyond = [f"{one['variant']} {one['math']}" for one in found if not one["holds"]]
    largest = ", ".join(
        f"{math} {l2:.1e} ({where})" for math, (l2, where) in worst.items()
    )
    detail = f"{net}: {len(found)} comparisons, largest differences {largest}"
    if beyond:
        raise Failed(f"{detail}; beyond the bound: {', '.join(beyond)}", found)
    if done.code != 0:
        raise Failed(f"{detail}; compare_gradients.py {how_it_ended(done)}", found)
    return Finding(detail, found)


def time_steps(
    gpu: int, arguments: Sequence[str], torch_python: Path | None, until: float
) -> Finding:
    """Times training steps by tools/bench.py, beside PyTorch's where a Python has it.

    arguments: bench.py's, --net NET the first ones.
    Raises Failed where bench.py does: where results are not to be trusted.
    """
    sides = "caffe" if torch_python is None else "caffe,torch"
    with_torch = ["--torch-python", str(torch_python)] if torch_python else []
    done, found = _tool(
        "bench",
        ["--gpu", str(gpu), *arguments, "--engines", sides, "--math", "fp32,tf32"]
        + ["--layout", "nchw", *with_torch],
        until,
    )
    if not found:
        raise Failed(f"bench.py {how_it_ended(done)}", done.stdout)
    parts = []
    for one in found["contenders"]:
        name = (
            f"{one['name']} {one['math']}"
            if one["math"] not in one["name"]
            else one["name"]
        )
        if one["refused"]:
            parts.append(f"{name} refused: {one['refused']}")
        elif one.get("ms") is not None:
            parts.append(f"{name} {one['ms']:.4g} ms")
    detail = f"a step of {arguments[1]}: {', '.join(parts)}"
    if done.code != 0:
        raise Failed(f"{detail}; bench.py {how_it_ended(done)}", found)
    if any(one["refused"] for one in found["contenders"]):
        raise Failed(detail, found)
    return Finding(detail, found)


def _tool(name: str, arguments: Sequence[str], until: float) -> tuple[Done, Any]:
    """Returns what a command of tools/ did, and its JSON; None where it wrote none."""
    with TemporaryDirectory(prefix="selftest-") as folder:
        written = Path(folder) / "found.json"
        done = run(
            [sys.executable, ROOT / "tools" / f"{name}.py", *arguments]
            + ["--json", written],
            until,
        )
        text = written.read_text("utf-8") if written.is_file() else "null"
    return done, json.loads(text)
