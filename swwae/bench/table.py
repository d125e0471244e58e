"""What `bench.py` found, as tables and as JSON."""

from collections.abc import Sequence

from swwae.base.tables import columns
from swwae.bench.network import Cost
from swwae.bench.rounds import Contender, faster, speed_up

REFERENCE = "CAFFE"


TORCH = "PyTorch"


FOOT = """\
ms: a step, the median of the turns', and their range. x CAFFE, x PyTorch: how many
times faster, the median of the rounds' ratios; PyTorch's faster layout counts. GFLOP/s:
as a direct convolution would need. memory: the most held in a step, beyond the program
and its libraries. outputs, gradients: the largest difference from CAFFE's results,
relative, by Euclidean norms | by maxima; CAFFE's own: with weights changed by 1e-4."""


HEAD = ("", "ms", "range", "images/s", "x CAFFE", "x PyTorch")


def references(
    own: Sequence[Contender],
) -> tuple[Contender | None, Contender | None]:
    """CAFFE and the faster PyTorch of a setting's contenders, where they were timed."""
    return (
        faster([each for each in own if each.name == REFERENCE]),
        faster([each for each in own if each.name.startswith(TORCH)]),
    )


def figures(own: Sequence[Contender], cost: Cost) -> str:
    """A setting's table, and why there is no row where there is none."""
    caffe, torch = references(own)
    rows: list[Sequence[str]] = [HEAD]
    notes: dict[str, list[str]] = {}
    for each in own:
        if not each.times:
            notes.setdefault(each.refused or "not timed", []).append(each.name)
            continue
        rows.append(
            (
                each.name,
                f"{each.milliseconds:.4g}",
                f"{min(each.times):.4g}-{max(each.times):.4g}",
                f"{1000 * each.batch / each.milliseconds:.4g}",
                _times(each, caffe),
                _times(each, torch),
                f"{cost.total / each.milliseconds / 1e6:.0f}",
                size(each.peak),
                _difference(each, "outputs"),
                _difference(each, "gradients"),
            )
        )
    lines = [f"{' and '.join(names)}: {why}" for why, names in notes.items()]
    return "\n".join([columns(rows), *lines])


def _times(each: Contender, other: Contender | None) -> str:
    return "-" if other is None else f"{speed_up(each, other):.2f}"


def _difference(each: Contender, part: str) -> str:
    found = each.differences.get(part)
    return "-" if found is None else f"{found.l2:.0e}|{found.most:.0e}"


def growth(contenders: Sequence[Contender]) -> str:
    """How many times more images a second than with the first batch size, and with the
    first number of threads; '' where there is one of each."""
    rows = [("images/s", "batch", "threads", "times")]
    timed = [each for each in contenders if each.times]
    for each in timed:
        same = [other for other in timed if other.name == each.name]
        by_batch = (o for o in same if o.job.threads == each.job.threads)
        by_threads = (o for o in same if o.batch == each.batch)
        for other in (next(by_batch), next(by_threads)):
            if other is not each:
                ratio = speed_up(each, other) * each.batch / other.batch
                batch = _grown(other.batch, each.batch)
                threads = _grown(other.job.threads, each.job.threads)
                rows.append((each.name, batch, threads, f"{ratio:.2f}"))
    return columns(rows) if len(rows) > 1 else ""


def layers(own: Sequence[Contender]) -> str:
    """Milliseconds of a step by types of layers, the longest first; '' where there are
    none."""
    own = [each for each in own if each.layers]
    kinds = dict.fromkeys(kind for each in own for kind in each.layers)
    if not kinds:
        return ""
    longest = sorted(
        kinds, key=lambda kind: -max(sum(each.layers.get(kind, ())) for each in own)
    )
    head = ["ms by layers"]
    for each in own:
        head += [f"{each.name} forward", "backward", "share"]
    rows: list[Sequence[str]] = [head]
    for kind in longest:
        row = [kind]
        for each in own:
            forward, backward = each.layers.get(kind, (0.0, 0.0))
            whole = sum(map(sum, each.layers.values()))
            row += [f"{forward:.3f}", f"{backward:.3f}"]
            row.append(f"{100 * (forward + backward) / whole:.1f} %")
        rows.append(row)
    return columns(rows)


def bandwidth(own: Sequence[Contender]) -> str:
    """GB/s of pooling and unpooling beside a copy's; '' where nothing was measured."""
    own = [each for each in own if each.gigabytes]
    kinds = dict.fromkeys(kind for each in own for kind in each.gigabytes)
    if not kinds:
        return ""
    rows: list[Sequence[str]] = [["GB/s", *(each.name for each in own)]]
    for kind in kinds:
        for at, way in enumerate(("forward", "backward")):
            row = [f"{kind} {way}"]
            for each in own:
                rate = each.gigabytes[kind][at]
                row.append(f"{rate:.1f} ({rate / each.copied:.0%})" if rate else "-")
            rows.append(row)
    rows.append(["copying", *(f"{each.copied:.1f} (100%)" for each in own)])
    return columns(rows)


def _grown(before: int, now: int) -> str:
    return f"{now}" if before == now else f"{before} -> {now}"


def size(count: int) -> str:
    """Bytes in MiB."""
    return f"{count / 2**20:,.0f} MiB"


def as_json(each: Contender, everyone: Sequence[Contender], cost: Cost) -> dict:
    """One contender's figures; null where there are none."""
    result = {
        "name": each.name,
        "batch": each.batch,
        "threads": each.job.threads,
        "refused": each.refused,
    }
    if not each.times:
        return result
    caffe, torch = references([o for o in everyone if o.setting == each.setting])
    return result | {
        "steps_a_turn": each.count,
        "turns_ms": each.times,
        "ms": each.milliseconds,
        "images_per_second": 1000 * each.batch / each.milliseconds,
        "gflop_per_second": cost.total / each.milliseconds / 1e6,
        "peak_memory": each.peak,
        "times_caffe": speed_up(each, caffe) if caffe else None,
        "times_pytorch": speed_up(each, torch) if torch else None,
        "differences": {
            part: {
                "l2": _finite(found.l2),
                "l2_of": found.l2_of,
                "max": _finite(found.most),
                "max_of": found.most_of,
            }
            for part, found in each.differences.items()
        },
        "finite": each.finite,
        "layers_ms": each.layers or None,
        "gigabytes_per_second": each.gigabytes | {"copying": [each.copied] * 2}
        if each.gigabytes
        else None,
    }


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None
