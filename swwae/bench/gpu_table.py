"""What a comparison on a card found, as tables for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from swwae.base.tables import columns
from swwae.bench.contender import Contender, by_setting, fastest, speed_up
from swwae.bench.floor import Work, floors
from swwae.bench.gpu_setup import LAYOUTS, GpuComparison
from swwae.bench.maths import MATHS
from swwae.bench.table import difference_text
from swwae.nets.cost import Cost

HEAD = (
    *("", "ms", "range", "images/s", "TFLOP/s", "x floor", "x PyTorch"),
    *("memory", "outputs", "gradients"),
)

FOOT = """\
ms: a step by the card's events, the median of the turns', and their range. x floor: how
many times as long as the floor of the same math. x PyTorch: how many times faster than
PyTorch in the same math, row-major and eager. memory: of the card; ours all beyond the
context, PyTorch's what it took from the driver. outputs, gradients: the largest
difference from CAFFE's results on the CPU, relative, by Euclidean norms | by maxima:
ours with the CPU's switches, PyTorch's with its own."""

NO_RATES = """\
no floor: the card's rates are measured with PyTorch, which did not run."""


def report(comparison: GpuComparison, described: Mapping[str, Any]) -> str:
    """Returns all tables, and how to read them. described: as `measure_on_gpu` does."""
    rates = described.get("torch", {}).get("rates")
    parts = []
    for (batch, _), group in by_setting(comparison.contenders).items():
        works = comparison.works[batch]
        table = figures(group, comparison.costs[batch], works, rates)
        parts.append(f"GPU {comparison.gpu}, batch {batch}\n{table}")
        parts.append(floor_text(group, works, rates))
        parts += [layers(one, works, rates) for one in group if one.layers]
    return "\n\n".join(filter(None, [*parts, cards(described), FOOT]))


def figures(
    group: Sequence[Contender],
    cost: Cost,
    works: Sequence[Work],
    rates: Mapping | None,
) -> str:
    """Returns a batch size's table, and why there is no row where there is none."""
    rows: list[Sequence[str]] = [HEAD]
    notes: dict[str, list[str]] = {}
    for one in group:
        if not one.times:
            notes.setdefault(one.refused or "not timed", []).append(one.name)
            continue
        other = torch_reference(one, group)
        floor = step_floor(works, rates, one.job.math)
        rows.append(
            (
                one.name,
                f"{one.milliseconds:.4g}",
                f"{min(one.times):.4g}-{max(one.times):.4g}",
                f"{1000 * one.batch / one.milliseconds:.4g}",
                f"{cost.total / one.milliseconds / 1e9:.3g}",
                f"{one.milliseconds / floor:.2f}" if floor else "-",
                "-" if other is None else f"{speed_up(one, other):.2f}",
                f"{one.peak / 2**20:,.0f} MiB",
                difference_text(one, "outputs"),
                difference_text(one, "gradients"),
            )
        )
    lines = [f"{' and '.join(names)}: {why}" for why, names in notes.items()]
    return "\n".join([columns(rows), *lines])


def torch_reference(one: Contender, group: Sequence[Contender]) -> Contender | None:
    """Returns PyTorch's eager, row-major side of the same math; None where there is no
    time of it."""
    return fastest(
        [
            other
            for other in group
            if other.job.kind == LAYOUTS["nchw"]
            and other.job.math == one.job.math
            and not other.job.compiled
        ]
    )


def step_floor(works: Sequence[Work], rates: Mapping | None, math: str) -> float | None:
    """Returns a step's milliseconds at the card's rates; None where these are not
    known."""
    if rates is None or math not in rates["product"]:
        return None
    return sum(map(sum, floors(works, rates, math).values()))


def floor_text(
    group: Sequence[Contender], works: Sequence[Work], rates: Mapping | None
) -> str:
    """Returns the floors of a step, and the rates that they are computed from."""
    if rates is None:
        return NO_RATES
    rows: list[Sequence[str]] = [("floor", "ms", "at TFLOP/s", "and copies at GB/s")]
    for math in dict.fromkeys(one.job.math for one in group):
        floor = step_floor(works, rates, math)
        if floor is not None:
            rate = rates["product"][math]
            row = (MATHS[math].title, f"{floor:.4g}", f"{rate:.4g}")
            rows.append((*row, f"{rates['copy']:,.0f}"))
    return columns(rows)


def layers(one: Contender, works: Sequence[Work], rates: Mapping | None) -> str:
    """Returns milliseconds of a side's step by types of layers, the longest first,
    beside the floor."""
    floor = {}
    if rates is not None and one.job.math in rates["product"]:
        floor = floors(works, rates, one.job.math)
    rows: list[Sequence[str]] = [
        (f"ms by layers, {one.name}", "forward", "floor", "backward", "floor", "share")
    ]
    whole = sum(map(sum, one.layers.values()))
    for kind, spent in sorted(one.layers.items(), key=lambda item: -sum(item[1])):
        row = [kind]
        for index, milliseconds in enumerate(spent):
            least = floor.get(kind, (0.0, 0.0))[index]
            row += [f"{milliseconds:.3f}", f"{least:.3f}" if least else "-"]
        rows.append([*row, f"{100 * sum(spent) / whole:.1f} %"])
    return columns(rows)


def cards(described: Mapping[str, Any]) -> str:
    """Returns the card and the versions, a line of each side's."""
    lines = []
    for side, title in (("caffe", "Caffe"), ("torch", "PyTorch")):
        if side in described:
            about = described[side]
            pairs = [("CUDA", about.get("cuda")), ("cuDNN", about.get("cudnn"))]
            if about.get("driver"):
                pairs.insert(0, ("driver", about["driver"]))
            words = [about.get("name") or "a card without a name"]
            words += [f"{name} {value}" for name, value in pairs if value]
            version = f" {about['torch']}" if "torch" in about else ""
            lines.append(f"{title}{version} on {', '.join(words)}")
    return "\n".join(lines)
