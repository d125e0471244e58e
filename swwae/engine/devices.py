"""Chooses what Caffe computes on, and says why a GPU cannot be had.

Caffe's program is asked: to ask CUDA itself would be to hold a GPU.
"""

import os
import re
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from generator import caffe_build
from generator.errors import UserError
from swwae.base.project import GPU_BUILD_COMMAND
from swwae.engine.cards import Card
from swwae.engine.log import fatal_messages, parse_line

DRIVER = Path("/proc/driver/nvidia/version")
"""There is one where NVIDIA's driver is loaded."""

VISIBLE = "CUDA_VISIBLE_DEVICES"

CPU_BUILD = "CPU-only"
OLD_DRIVER = "driver version is insufficient"
NO_CARD = "no CUDA-capable device"
NO_SUCH_CARD = "invalid device ordinal"
NO_KERNEL = "no kernel image is available"
NO_MEMORY = (
    "out of memory",
    "The card has no memory left",
    "ALLOC_FAILED",
    "ALLOCATION_FAILED",
)
"""Of what CUDA and the fork say, as Caffe passes it on."""


@dataclass(frozen=True)
class Found:
    """What Caffe's program says of GPUs.

    numbers: of those that were asked for and that there are. cards: those of them that
    it describes. refusal: Caffe's words where it cannot use all of them.
    """

    numbers: list[int]
    cards: dict[int, Card]
    refusal: str | None = None


def choose(caffe: Path, wanted: str | None) -> tuple[list[int], str]:
    """Returns GPU numbers (none: the CPU) and the choice in words, which say why a
    card that is there is not taken.

    caffe: the program, which is asked. wanted: "all", "0,2" or None for the first one,
    where there is any. Raises UserError where what is wanted is not there or cannot be
    used.
    """
    if wanted is not None:
        return require(caffe, wanted, f"--gpu {wanted}")
    found = _query(caffe, "all")
    faults = {n: _too_old(caffe, found.cards.get(n)) for n in found.numbers}
    usable = [number for number in found.numbers if faults[number] is None]
    if usable:
        others = f"; {len(usable)} found, --gpu chooses" if len(usable) > 1 else ""
        return usable[:1], f"{_names(usable[:1], found.cards)}{others}"
    reason = next(iter(faults.values()), None) or _reason(found.refusal)
    named = [name for name, _ in installed()]
    if not found.numbers and (not named or _are_hidden()):
        return [], "CPU (no GPU found)"
    return [], f"CPU ({reason})"


def require(
    caffe: Path, wanted: str, who: str, mend: str = "leave --gpu out for the CPU"
) -> tuple[list[int], str]:
    """Returns the numbers of GPUs, and them in words; as `choose`, but the CPU will not
    do.

    wanted: "all" or "0,2". who: asks for them, as the sentence begins; mend: what to do
    without them, as it ends. Raises UserError where one is not there or cannot be used.
    """
    named = wanted.split(",")
    if len(set(named)) < len(named):
        raise UserError(f"{who} names a GPU twice.")
    found = _query(caffe, wanted)
    if found.refusal is None and found.numbers:
        for number in found.numbers:
            if fault := _too_old(caffe, found.cards.get(number)):
                raise UserError(f"{who}: {fault}.")
        return found.numbers, _names(found.numbers, found.cards)
    if found.refusal and NO_SUCH_CARD in found.refusal:
        there = _query(caffe, "all").numbers
        known = " and ".join(map(str, there)) or "none"
        verb = "is" if len(there) < 2 else "are"
        raise UserError(f"{who}: there is no such GPU; there {verb} {known}.")
    raise UserError(f"{who}: {_reason(found.refusal)}; {mend}.")


def architectures(caffe: Path) -> list[int]:
    """Returns the compute capabilities that a build's kernels were compiled for, such
    as 90 for 9.0, ascending; [] where that is not known."""
    with suppress(OSError):
        made_from = (caffe.parents[1] / "made-from").read_text(encoding="utf-8")
        one = r"\d{2,3}[a-z]?(?:-real|-virtual)?"
        for word in made_from.partition(" cuda ")[2].split():
            if re.fullmatch(f"{one}(?:;{one})*", word):
                return sorted({int(n) for n in re.findall(r"\d+", word)})
    return []


def installed() -> list[tuple[str, str]]:
    """Returns name and driver of every NVIDIA card, as nvidia-smi tells; [] where there
    is none, or no nvidia-smi."""
    return [(name, driver) for name, driver in _smi("name,driver_version")]


def driver() -> str | None:
    """Returns the version of NVIDIA's driver, such as "580.159.04"; None where it is
    not known."""
    with suppress(OSError):
        text = DRIVER.read_text(encoding="utf-8", errors="replace")
        if match := re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", text.partition("\n")[0]):
            return match[1]
    return next((version for _, version in installed()), None)


def free_memory(gpu: int) -> int | None:
    """Returns the bytes of a card's memory that nobody holds; None where nvidia-smi
    does not tell.

    gpu: its number for CUDA, which CUDA_VISIBLE_DEVICES may have changed.
    """
    if os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        if len({name for name, _ in installed()}) > 1:
            return None  # CUDA's numbers are in another order than nvidia-smi's
    visible = os.environ.get(VISIBLE)
    if visible is not None:
        named = visible.split(",")
        if gpu >= len(named) or not named[gpu].strip().isdecimal():
            return None
        gpu = int(named[gpu])
    for index, megabytes in _smi("index,memory.free"):
        if index == str(gpu) and (free := re.match(r"\d+", megabytes)):
            return int(free[0]) << 20
    return None


def is_out_of_memory(fatal: str) -> bool:
    """Tells whether Caffe ended since a card's memory did not do."""
    return any(words in fatal for words in NO_MEMORY)


def explained(caffe: Path, fatal: str, cards: Sequence[Card]) -> str | None:
    """Returns why Caffe cannot compute on a card, where its last words say so, without
    a full stop; None for other words.

    cards: that it began to compute on.
    """
    if NO_KERNEL in fatal:
        old = (fault for card in cards if (fault := _too_old(caffe, card)))
        which = " and ".join(map(str, cards)) or "the card"
        return next(
            old, f"{which} is none that this Caffe was built for: {_build_for(cards)}"
        )
    if OLD_DRIVER in fatal or NO_CARD in fatal or CPU_BUILD in fatal:
        return _reason(fatal)
    return None


def _reason(refusal: str | None) -> str:
    """Returns why there is no GPU to be had, without a full stop."""
    there = installed()
    name, driver = there[0] if there else ("", "")
    if refusal and CPU_BUILD in refusal:
        if there:
            return (
                f"this Caffe was built for the CPU alone, and there is a card, {name}:"
                f" {GPU_BUILD_COMMAND} builds it for both"
            )
        return "this Caffe was built for the CPU alone"
    if there and _are_hidden():
        value = os.environ[VISIBLE]
        return f"{VISIBLE} is '{value}' in the environment and hides {name}"
    if refusal and OLD_DRIVER in refusal:
        if not there and not DRIVER.exists():
            return "this machine has no NVIDIA driver, or no GPU"
        version = f" {driver}" if driver else ""
        return (
            f"NVIDIA's driver{version} is older than the CUDA that this Caffe was built"
            f" with: install a newer driver, or build with an older CUDA"
            f" ({GPU_BUILD_COMMAND})"
        )
    if refusal and NO_CARD not in refusal:
        return f"no GPU can be used (Caffe: {refusal})"
    if there:
        return f"there is a card, {name}, but CUDA finds none"
    return "this machine has no NVIDIA GPU"


def _too_old(caffe: Path, card: Card | None) -> str | None:
    """Returns why a card cannot run a build's kernels; None where it can, or where that
    is not known. (Kernels for an older card are translated for newer ones.)"""
    built = architectures(caffe)
    if card is None or card.capability is None or not built:
        return None
    if int(card.capability.replace(".", "")) >= built[0]:
        return None
    wanted = " and ".join(f"{number // 10}.{number % 10}" for number in built)
    return (
        f"{card} has compute capability {card.capability}, and this Caffe was built for"
        f" {wanted}: {_build_for([card])}"
    )


def _build_for(cards: Sequence[Card]) -> str:
    known = {card.capability.replace(".", "") for card in cards if card.capability}
    chosen = f"CUDA_ARCHITECTURES='{';'.join(sorted(known))}' " if known else ""
    return f"{chosen}{GPU_BUILD_COMMAND} builds it for that"


def _are_hidden() -> bool:
    """Tells whether the environment hides all GPUs."""
    return os.environ.get(VISIBLE, "0").strip() in ("", "-1")


def _names(numbers: list[int], cards: dict[int, Card]) -> str:
    """Returns GPU 0 (NVIDIA H200), or GPU 0, 1 (NVIDIA H200)."""
    kinds = list(dict.fromkeys(cards[n].name for n in numbers if n in cards))
    known = f" ({', '.join(kinds)})" if kinds else ""
    return f"GPU {', '.join(map(str, numbers))}{known}"


def _query(caffe: Path, gpus: str) -> Found:
    """Returns the GPUs of a list, or why Caffe cannot use all of them."""
    done = subprocess.run(
        [caffe, "device_query", f"--gpu={gpus}"],
        env=caffe_build.environment(),
        capture_output=True,
        text=True,
        errors="replace",
    )
    lines = done.stderr.splitlines()
    if done.returncode:
        fatal = fatal_messages(lines)
        refusal = (fatal or lines or [f"exit code {done.returncode}"])[-1]
        return Found([], {}, refusal)
    events = map(parse_line, lines)
    cards = {event.number: event for event in events if isinstance(event, Card)}
    listed = (line.partition("Device id:")[2].strip() for line in lines)
    numbers = [int(number) for number in listed if number.isdecimal()]
    return Found(list(dict.fromkeys([*numbers, *cards])), cards)


def _smi(fields: str) -> list[list[str]]:
    """Returns a row a card of what nvidia-smi says; [] where it says nothing."""
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode:
        return []
    lines = done.stdout.splitlines()
    rows = [[cell.strip() for cell in line.split(",")] for line in lines]
    return [row for row in rows if len(row) == fields.count(",") + 1]
