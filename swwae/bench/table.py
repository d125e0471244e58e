"""What a comparison found, as tables for people."""

from collections.abc import Mapping, Sequence

from swwae.base.tables import columns
from swwae.bench.contender import (
    Contender,
    by_setting,
    references,
    setting_text,
    speed_up,
)
from swwae.nets.cost import Cost

HEAD = (
    *("", "ms", "range", "images/s", "x CAFFE", "x PyTorch"),
    *("GFLOP/s", "memory", "outputs", "gradients"),
)

FOOT = """\
ms: a step, the median of the turns', and their range. x CAFFE, x PyTorch: how many
times faster, the median of the rounds' ratios; PyTorch's faster layout counts. GFLOP/s:
as a direct convolution would need. memory: the most held in a step, beyond the program
and its libraries. outputs, gradients: the largest difference from CAFFE's results,
relative, by Euclidean norms | by maxima; CAFFE's own: with weights changed by 1e-4."""


def report(contenders: Sequence[Contender], costs: Mapping[int, Cost]) -> str:
    """Returns all tables, and how to read them. costs: by batch size."""
    parts = []
    for setting, group in by_setting(contenders).items():
        batch, _ = setting
        parts.append(f"{setting_text(setting)}\n{figures(group, costs[batch])}")
        parts += [layers(group), bandwidth(group)]
    parts += [growth(contenders), FOOT]
    return "\n\n".join(filter(None, parts))


def figures(group: Sequence[Contender], cost: Cost) -> str:
    """Returns a setting's table, and why there is no row where there is none."""
    caffe, torch = references(group)
    rows: list[Sequence[str]] = [HEAD]
    notes: dict[str, list[str]] = {}
    for one in group:
        if not one.times:
            notes.setdefault(one.refused or "not timed", []).append(one.name)
            continue
        rows.append(
            (
                one.name,
                f"{one.milliseconds:.4g}",
                f"{min(one.times):.4g}-{max(one.times):.4g}",
                f"{1000 * one.batch / one.milliseconds:.4g}",
                _speed_up(one, caffe),
                _speed_up(one, torch),
                f"{cost.total / one.milliseconds / 1e6:.0f}",
                f"{one.peak / 2**20:,.0f} MiB",
                difference_text(one, "outputs"),
                difference_text(one, "gradients"),
            )
        )
    lines = [f"{' and '.join(names)}: {why}" for why, names in notes.items()]
    return "\n".join([columns(rows), *lines])


def _speed_up(one: Contender, other: Contender | None) -> str:
    return "-" if other is None else f"{speed_up(one, other):.2f}"


def difference_text(one: Contender, part: str) -> str:
    """Returns a contender's difference of "outputs" or "gradients"; - if unknown."""
    difference = one.differences.get(part)
    return "-" if difference is None else f"{difference.l2:.0e}|{difference.most:.0e}"


def growth(contenders: Sequence[Contender]) -> str:
    """Returns how many times more images a second there are than with the first batch
    size, and with the first number of threads; "" where there is one of each."""
    rows = [("images/s", "batch", "threads", "times")]
    timed = [contender for contender in contenders if contender.times]
    for one in timed:
        same = [other for other in timed if other.name == one.name]
        first_batch = next(o for o in same if o.job.threads == one.job.threads)
        first_threads = next(o for o in same if o.batch == one.batch)
        for other in (first_batch, first_threads):
            if other is not one:
                ratio = speed_up(one, other) * one.batch / other.batch
                batch = _growth_text(other.batch, one.batch)
                threads = _growth_text(other.job.threads, one.job.threads)
                rows.append((one.name, batch, threads, f"{ratio:.2f}"))
    return columns(rows) if len(rows) > 1 else ""


def _growth_text(before: int, now: int) -> str:
    return f"{now}" if before == now else f"{before} -> {now}"


def layers(group: Sequence[Contender]) -> str:
    """Returns milliseconds of a step by types of layers, the longest first; "" where
    there are none."""
    group = [one for one in group if one.layers]
    kinds = dict.fromkeys(kind for one in group for kind in one.layers)
    if not kinds:
        return ""
    longest = sorted(
        kinds, key=lambda kind: -max(sum(one.layers.get(kind, ())) for one in group)
    )
    head = ["ms by layers"]
    for one in group:
        head += [f"{one.name} forward", "backward", "share"]
    rows: list[Sequence[str]] = [head]
    for kind in longest:
        row = [kind]
        for one in group:
            forward, backward = one.layers.get(kind, (0.0, 0.0))
            whole = sum(map(sum, one.layers.values()))
            row += [f"{forward:.3f}", f"{backward:.3f}"]
            row.append(f"{100 * (forward + backward) / whole:.1f} %")
        rows.append(row)
    return columns(rows)


def bandwidth(group: Sequence[Contender]) -> str:
    """Returns GB/s of pooling and unpooling beside a copy's; "" where none is known."""
    group = [one for one in group if one.gigabytes]
    kinds = dict.fromkeys(kind for one in group for kind in one.gigabytes)
    if not kinds:
        return ""
    rows: list[Sequence[str]] = [["GB/s", *(one.name for one in group)]]
    for kind in kinds:
        for index, direction in enumerate(("forward", "backward")):
            row = [f"{kind} {direction}"]
            for one in group:
                rate = one.gigabytes[kind][index]
                row.append(f"{rate:.1f} ({rate / one.copied:.0%})" if rate else "-")
            rows.append(row)
    rows.append(["copying", *(f"{one.copied:.1f} (100%)" for one in group)])
    return columns(rows)
