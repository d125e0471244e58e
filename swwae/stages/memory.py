"""What is said where a card's memory did not do for a training."""

from collections.abc import Sequence
from pathlib import Path

from swwae.base.project import ROOT, relative
from swwae.engine.cards import Card
from swwae.nets import memory
from swwae.runs.run import Run
from swwae.stages import snapshots

USABLE = 0.9
"""Of a card's memory: an estimate that comes closer to it is not trusted (ours)."""


def out_of_memory(
    run: Run, net: str, batch: int, iter_size: int, cards: Sequence[Card], command: str
) -> str:
    """Returns a sentence on how much memory there is and was needed, and another on
    the batch and iter_size that fit and train alike.

    net: the network's file, relative to the project; batch: images at a time on each
    card, 0 where unknown. cards: that it trained on. command: that goes on with the
    stage.
    """
    path = ROOT / net
    known = [card.megabytes for card in cards if card.megabytes]
    there = min(known, default=None)
    which = " and ".join(map(str, cards)) or "the card"
    fault = f"{which} ran out of memory"
    if there is not None:
        verb = "has" if len(cards) == 1 else "have"
        each = "" if len(cards) == 1 else " at least, each"
        fault += f": {which if len(cards) == 1 else 'they'} {verb} {there:,} MB{each}"
    if not batch:
        return f"{fault}. Take fewer images a batch, and as much more iter_size."
    values = memory.values(path, batch)
    if values is None:
        smaller = next(memory.smaller_batches(batch, iter_size), None)
    else:
        needed = _megabytes(values, batch)
        fault += f", and a batch of {batch} takes about {needed:,} MB (an estimate)"
        if there is not None and needed <= USABLE * there:
            fault += ", so something else may hold memory there"
        smaller = next(
            (
                (fewer, more)
                for fewer, more in memory.smaller_batches(batch, iter_size)
                if there is None or _megabytes(values, fewer) <= USABLE * there
            ),
            None,
        )
    if smaller is None:
        return (
            f"{fault}. No smaller batch fits either: train on a card with more memory,"
            " or on the CPU."
        )
    return f"{fault}. {_advice(run, path, smaller, values, command)}"


def _advice(
    run: Run,
    path: Path,
    smaller: tuple[int, int],
    values: memory.Values | None,
    command: str,
) -> str:
    batch, iter_size = smaller
    takes = (
        ""
        if values is None
        else f", which takes about {_megabytes(values, batch):,} MB,"
    )
    newest = max(snapshots.iterations(run.folder), default=None)
    lost = (
        ""
        if newest is None
        else f", which removes what is trained so far, {newest:,} iterations"
    )
    return (
        f"A batch of {batch} with iter_size {iter_size}{takes} trains on as many images"
        f" an iteration: write batch_size: {batch} into the training data layer of"
        f" {relative(path)} and iter_size: {iter_size} into {relative(run.solver)}, and"
        f" start over with {command} --force{lost}"
    )


def _megabytes(values: memory.Values, batch: int) -> int:
    return -(-values.bytes(batch) // (1 << 20))
