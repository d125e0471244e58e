"""What a soak says: a line a fault, a summary, JSON, and a table of the kinds."""

from dataclasses import asdict
from statistics import median
from typing import Any

from swwae.base import provenance
from swwae.base.progress import duration
from swwae.base.project import CAFFE
from swwae.base.tables import markdown
from swwae.soak.faults import WORDS
from swwae.soak.soak import Record, Result, Settings

WIDTH = 100
"""Characters of a program's own words in a line; JSON has all."""


def line(record: Record) -> str:
    """Returns a fault in a line: when and where, what, how it was met."""
    at = "-" if record.iteration is None else f"{record.iteration:,}"
    place = f"{duration(record.seconds):>8}  stage {record.stage}  iteration {at:>6}"
    return f"{place}  {WORDS[record.fault]}: {how(record)}"


def how(record: Record) -> str:
    """Returns how a fault was met."""
    parts = [_short(record.detail)] if record.detail else []
    if record.code is None:
        parts.append("it went on")
    else:
        said = f" ({_short(record.said)})" if record.code > 0 and record.said else ""
        parts.append(f"exit code {record.code} after {record.ended_after:g} s{said}")
        if record.trained_after is not None:
            parts.append(f"trained again {record.trained_after:g} s after its restart")
    return "; ".join(parts)


def summary(result: Result) -> str:
    """Returns a soak in a sentence or two."""
    iterations = ", ".join(
        f"stage {stage} {number:,}"
        for stage, number in sorted(result.iterations.items())
    )
    text = (
        f"{len(result.faults)} faults in {duration(result.seconds)},"
        f" {result.rounds} rounds (iterations: {iterations}):"
        f" {result.differing:,} of {result.bits:,} bits differ"
    )
    return f"{text}. Not survived: {result.unmet}" if result.unmet else text


def as_json(
    settings: Settings, result: Result, left_out: dict[str, str]
) -> dict[str, Any]:
    """Returns all that is known of a soak."""
    return {
        "net": settings.net,
        "variant": settings.variant,
        "seed": settings.seed,
        "hours": settings.hours,
        "host": provenance.host(),
        "versions": provenance.versions(CAFFE),
        "left_out": left_out,
        "iterations": {str(k): v for k, v in sorted(result.iterations.items())},
        "rounds": result.rounds,
        "seconds": round(result.seconds, 1),
        "faults": [asdict(record) for record in result.faults],
        "files": [asdict(file) for file in result.files],
        "bits": result.bits,
        "differing_bits": result.differing,
        "unmet": result.unmet,
    }


def table(result: Result) -> str:
    """Returns the kinds of faults as a Markdown table: how often, with which exit
    codes, and the seconds to the session's end and until the next one trained, the
    median and the most of each."""
    head = ["fault", "times", "exit codes", "s to the end", "s until it trained again"]
    rows = []
    for kind, words in WORDS.items():
        records = [record for record in result.faults if record.fault == kind]
        if not records:
            continue
        codes = sorted({record.code for record in records if record.code is not None})
        rows.append(
            [
                words,
                str(len(records)),
                ", ".join(map(str, codes)) or "went on",
                _spread([record.ended_after for record in records]),
                _spread([record.trained_after for record in records]),
            ]
        )
    return markdown(head, rows)


def _spread(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{median(known):.1f}, {max(known):.1f}" if known else ""


def _short(text: str) -> str:
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"
