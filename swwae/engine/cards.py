"""What the fork logs of a GPU that it is about to compute on, and what is recorded of
it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_CARD = re.compile(
    r"GPU (?P<number>\d{1,9}): (?P<name>[^,]+)"
    r"(?:, compute capability (?P<capability>\d+\.\d+))?"
    r"(?:, (?P<megabytes>\d{1,18}) MB)?"
    r"(?:, driver (?P<driver>[\w.]+))?"
    r"(?:, CUDA (?P<cuda>[\w.]+))?"
    r"(?:, cuDNN (?P<cudnn>[\w.]+))?"
    r"(?:, math (?P<math>\w+))?"
    r"(?:, deterministic (?P<deterministic>yes|no))?$"
)


@dataclass(frozen=True)
class Card:
    """A GPU and what computes on it; None for what is not said.

    number: as --gpu takes it. capability: such as "9.0". megabytes: of its memory, in
    units of 2^20. driver: the newest CUDA that it knows. cuda, cudnn: versions. math:
    fp32 or tf32. deterministic: whether two runs are alike bit for bit.
    """

    number: int
    name: str
    capability: str | None = None
    megabytes: int | None = None
    driver: str | None = None
    cuda: str | None = None
    cudnn: str | None = None
    math: str | None = None
    deterministic: bool | None = None

    def __str__(self) -> str:
        return f"GPU {self.number} ({self.name})"


def parse_card(text: str) -> Card | None:
    """Returns what a message of the fork says of a card; None where it is another
    one."""
    match = _CARD.match(text.strip())
    if match is None:
        return None
    found: dict[str, Any] = match.groupdict()
    found["number"] = int(found["number"])
    if found["megabytes"] is not None:
        found["megabytes"] = int(found["megabytes"])
    if found["deterministic"] is not None:
        found["deterministic"] = found["deterministic"] == "yes"
    return Card(**found)


def record(cards: Sequence[Card], driver: str | None) -> dict[str, Any]:
    """Returns what status.json says of the cards, one at least: what differs between
    them card by card, the rest once. driver: its version; None where unknown."""
    first = cards[0]
    return {
        "cards": [
            {
                "number": card.number,
                "name": card.name,
                "compute_capability": card.capability,
                "memory_mb": card.megabytes,
            }
            for card in cards
        ],
        "driver_version": driver,
        "driver": first.driver,
        "cuda": first.cuda,
        "cudnn": first.cudnn,
        "math": first.math,
        "deterministic": first.deterministic,
    }


def describe(recorded: Any) -> list[tuple[str, str]]:
    """Returns rows (what, in words) of a `record`; of anything else what is like one
    in it."""
    if not isinstance(recorded, dict):
        return []
    cards = recorded.get("cards")
    cards = cards if isinstance(cards, list) else []
    cards = [card for card in cards if isinstance(card, dict)]
    names = [f"{card.get('number')}: {card.get('name')}" for card in cards]
    rows = [
        ("GPU", ", ".join(names)),
        ("driver", _driver(recorded.get("driver_version"), recorded.get("driver"))),
        ("CUDA", recorded.get("cuda")),
        ("cuDNN", recorded.get("cudnn")),
        ("math", recorded.get("math")),
    ]
    if recorded.get("deterministic") is not None:
        rows.append(("deterministic", "yes" if recorded["deterministic"] else "no"))
    return [(what, str(value)) for what, value in rows if value]


def _driver(version: Any, cuda: Any) -> str:
    """Returns 580.159.04 (for CUDA 13.0), or the part that is known of it."""
    newest = f"for CUDA {cuda}" if cuda else ""
    if version and newest:
        return f"{version} ({newest})"
    return str(version or newest)
