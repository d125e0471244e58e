"""What a search of learning rates found: a table, JSON, a picture, and the rates."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from swwae.base.tables import columns
from swwae.engine.trial import Reconstruction
from swwae.tuning.grid import Grid
from swwae.tuning.losses import AVERAGED_SHARE
from swwae.tuning.points import Choice, Point, choose_factor


@dataclass(frozen=True)
class SearchResults:
    """The points of a whole search.

    net, family: whose stage 2 it is of; iterations: of a training; macro_layers: index
    -> its reconstruction loss; base_lr: of stage 2's solver; points: by factor.
    """

    net: str
    family: str
    iterations: int
    grid: Grid
    macro_layers: Mapping[int, Reconstruction]
    base_lr: float
    points: Mapping[float, Point]

    @cached_property
    def choices(self) -> dict[int, Choice]:
        """By macro-layer."""
        points = self.points.values()
        return {index: choose_factor(points, index) for index in self.macro_layers}

    @cached_property
    def present_rates(self) -> dict[int, float]:
        """By macro-layer, the learning rate that its decoder has in stage 2 now."""
        return {
            index: self.base_lr * loss.rate for index, loss in self.macro_layers.items()
        }

    @property
    def best_rates(self) -> dict[int, float]:
        """By macro-layer, without those whose loss no rate lowers."""
        return {
            index: self._rate(index, choice.best)
            for index, choice in self.choices.items()
            if choice.best is not None
        }

    def table(self) -> str:
        """Returns a row a macro-layer, for a person, and remarks below."""
        rows = [
            ("macro-layer", "present rate", "best rate", "loss", "decrease", "highest"),
        ]
        remarks = []
        for index, choice in self.choices.items():
            present = self.present_rates[index]
            end = choice.start - choice.decrease
            rows.append(
                (
                    f"{index} {self.macro_layers[index].blob}",
                    f"{present:.2g}",
                    _rate_text(present, choice.best),
                    f"{choice.start:.4g} -> {end:.4g}",
                    f"{choice.decrease:.4g}",
                    _rate_text(present, choice.highest_stable),
                )
            )
            if choice.at_end:
                side = "smaller" if choice.at_end < 0 else "larger"
                remarks.append(
                    f"  macro-layer {index}: the best of {self.grid.lowest:g} to"
                    f" {self.grid.highest:g} times the present rate and two decades"
                    f" more is at the end; a {side} one may be better."
                )
        return "\n".join([columns(rows), "highest: that did not diverge", *remarks])

    def as_json(self, command: str) -> dict:
        """Returns all that was found; null where there is no such number.

        command: the command line that found it.
        """
        return {
            "net": self.net,
            "family": self.family,
            "command": command,
            "iterations": self.iterations,
            "last_share": AVERAGED_SHARE,
            "macro_layers": [
                {
                    "macro_layer": index,
                    "loss": self.macro_layers[index].blob,
                    "present_rate": self._rate(index, 1.0),
                    "best_rate": self._rate(index, choice.best),
                    "start": choice.start,
                    "decrease": choice.decrease,
                    "highest_stable_rate": self._rate(index, choice.highest_stable),
                    "at_end_of_grid": bool(choice.at_end),
                    "points": [
                        {"rate": self._rate(index, factor), "factor": factor}
                        | asdict(self.points[factor].results[index])
                        for factor in sorted(self.points)
                    ],
                }
                for index, choice in self.choices.items()
            ],
        }

    def plot(self, path: Path) -> None:
        """Draws the decreases by rate; raises UserError where it cannot be written."""
        from swwae.tuning.plot import Curve, draw  # takes a second to import

        curves = {
            index: Curve(
                f"{index} {self.macro_layers[index].blob}",
                self.present_rates[index],
                choice,
            )
            for index, choice in self.choices.items()
        }
        title = f"{self.net} {self.family}, {self.iterations:,} iterations"
        draw(curves, self.points.values(), title, path)

    def _rate(self, index: int, factor: float | None) -> float | None:
        """Three digits: a solver's float32 and the grid have no more to say."""
        if factor is None:
            return None
        return float(f"{self.present_rates[index] * factor:.3g}")


def _rate_text(present: float, factor: float | None) -> str:
    return "none" if factor is None else f"{present * factor:.2g}"
