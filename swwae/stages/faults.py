"""Sentences on what ended a training before its time."""

import re
import shlex
import shutil
import signal
from pathlib import Path

from generator import rates
from generator.errors import UserError
from generator.variants import find_variant
from swwae.base.project import CAFFE, relative
from swwae.engine import devices
from swwae.engine.process import Outcome
from swwae.nets import databases, network
from swwae.runs.run import Run

DATA_WORDS = re.compile("lmdb|mdb_|datum|data|label|parse", re.IGNORECASE)
"""In Caffe's last words, where its data may have been the reason."""


def caffe_fault(run: Run, outcome: Outcome) -> str | None:
    """Returns why Caffe ended before its time; None where it did not."""
    if outcome.code == 0:
        return None
    log = f"The log is {relative(run.log)}."
    if outcome.fatal:
        if why := devices.explained(CAFFE, outcome.fatal, outcome.cards):
            return f"Caffe stopped: {why}. {log}"
        return f"Caffe stopped: {outcome.fatal.strip().removesuffix('.')}. {log}"
    if outcome.code == -signal.SIGKILL:
        return (
            "caffe was killed, as is done when memory runs out: free some and go on."
            " (Less of it is taken by half the batch_size and twice the iter_size, with"
            f" which a stage starts over: --force.) {log}"
        )
    if outcome.code < 0:
        return f"caffe died of {signal.Signals(-outcome.code).name}. {log}"
    return f"caffe ended with exit code {outcome.code}. {log}"


def data_fault(run: Run, outcome: Outcome) -> str | None:
    """Returns what is wrong with a run's data, where Caffe ended as it does of that;
    None where nothing is, or nothing is known."""
    lost = outcome.code in (-signal.SIGBUS, -signal.SIGSEGV)
    aborted = outcome.code == -signal.SIGABRT
    if not (lost or (aborted and DATA_WORDS.search(outcome.fatal or "data"))):
        return None
    try:
        net = network.read(run.network)
        databases.check(net, run.network, afresh=True)
    except UserError as error:
        return str(error)
    if outcome.code != -signal.SIGBUS:
        return None
    read = " and ".join(relative(path) for path in databases.sources(net))
    return (
        "caffe died of SIGBUS, which comes of reading a file that was cut short or has"
        f" gone meanwhile: look at {read}. The log is {relative(run.log)}."
    )


def snapshot_fault(folder: Path) -> str:
    """Returns a sentence on a last snapshot that ends too early."""
    return f"the last snapshot is not whole ({free_space(folder)})."


def free_space(folder: Path) -> str:
    """Returns a question and an answer: the bytes that are free on a folder's disk."""
    free = shutil.disk_usage(folder).free
    return f"is the disk full? {free / 1e6:,.1f} MB are free"


def search_command(run: Run, source: Path | None) -> str | None:
    """Returns the command line that finds the rates of a run's decoders; None where it
    has none, or none that is searched for.

    source: the weights that the run started from.
    """
    family = rates.family(find_variant(run.variant))
    if family not in rates.FAMILIES or source is None:
        return None
    searched = Run(run.net, f"{family}-layerwise", 2, root=run.root)
    if not searched.solver.is_file():
        return None
    elsewhere, _, _ = searched.command.rpartition("tools/")
    words = ["tools/find_lr.py", "--net", run.net, "--family", family]
    if searched.missing():
        words += ["--weights", relative(source)]
    return elsewhere + shlex.join(words)
