"""What a search of learning rates keeps on disk: an interrupted one goes on from it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from generator.errors import UserError
from swwae.base.files import write_json
from swwae.base.project import relative
from swwae.runs.run import Run
from swwae.stages import changes
from swwae.stages.status import file_record
from swwae.tuning.points import LossChange, Point

SETTINGS = "search.json"
INITIAL_LOSSES = "start.json"


@dataclass(frozen=True)
class RateSearch(Run):
    """A search of stage 2's rates: of that stage, but in a folder of its own."""

    @property
    def title(self) -> str:
        return f"the search of learning rates for {self.place}"

    @property
    def folder(self) -> Path:
        return self.root / self.place / "find_lr"

    @property
    def log(self) -> Path:
        return self.folder


class Journal:
    """The points of a search, and what it was begun with, in the search's folder."""

    def __init__(
        self,
        search: RateSearch,
        iterations: int,
        seed: int,
        source: Path,
        indices: Iterable[int],
    ) -> None:
        """source: the weights it starts from; indices: of the macro-layers."""
        self.folder = search.folder
        self._indices = set(indices)
        self._settings = {
            "iterations": iterations,
            "seed": seed,
            "weights": file_record(source),
            **changes.made_with(search),
        }

    def read_points(self) -> dict[float, Point]:
        """Returns factor -> point.

        Raises UserError where they are of a search with other settings, or one is
        damaged.
        """
        path = self.folder / SETTINGS
        if not path.is_file():
            return {}
        self._refuse_other_settings(_read_object(path))
        files = sorted(self.folder.glob("factor-*.json"))
        points = [_read_point(file, self._indices) for file in files]
        return {point.factor: point for point in points}

    def begin(self, points: Mapping[float, Point]) -> None:
        """Records the settings; clears the folder first where no points are known."""
        if not points:
            for path in [
                *self.folder.glob("factor-*"),
                self.folder / INITIAL_LOSSES,
                self.folder / SETTINGS,
            ]:
                path.unlink(missing_ok=True)
        write_json(self.folder / SETTINGS, self._settings)

    def read_initial_losses(self) -> dict[int, float] | None:
        """Returns macro-layer -> its loss without any update; None if not known yet.

        Raises UserError where the file is damaged.
        """
        path = self.folder / INITIAL_LOSSES
        if not path.is_file():
            return None
        try:
            losses = {int(i): float(loss) for i, loss in _read_object(path).items()}
            _check_indices(losses, self._indices)
        except (TypeError, ValueError) as error:
            raise _damaged(path, error) from error
        return losses

    def write_initial_losses(self, losses: Mapping[int, float]) -> None:
        write_json(self.folder / INITIAL_LOSSES, losses)

    def write_point(self, point: Point) -> None:
        path = self.stem(point.factor)
        write_json(path.with_name(f"{path.name}.json"), asdict(point))

    def stem(self, factor: float) -> Path:
        """Returns the path of a point's files, without their suffix."""
        return self.folder / f"factor-{factor:g}".replace(".", "p")

    def _refuse_other_settings(self, recorded: dict) -> None:
        faults = []
        for name, now in self._settings.items():
            then = recorded.get(name)
            if isinstance(now, dict) and isinstance(then, dict):
                if now["sha256"] != then.get("sha256"):
                    before = (str(then.get("path")), str(then.get("sha256")))
                    faults.append(f"with {_other_file(before, now)}")
            elif now != then:
                faults.append(f"with {name} {then}, not {now}")
        if faults:
            raise UserError(
                f"{relative(self.folder)} holds a search that was begun"
                f" {', '.join(faults)}; --force replaces it by a new one."
            )


def _other_file(before: tuple[str, str], now: dict[str, str]) -> str:
    """Returns what a file was and what it is, in words. before: path and sha256."""
    path, checksum = before
    if path != now["path"]:
        return f"{path}, not {now['path']}"
    digests = (each[: changes.SHOWN] for each in (checksum, now["sha256"]))
    return "another content of {} (sha256 {} then, {} now)".format(path, *digests)


def _read_object(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it is no object")
        return content
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{relative(path)} is damaged ({error}); --force starts the search over."
    )


def _read_point(path: Path, indices: set[int]) -> Point:
    content = _read_object(path)
    try:
        results = {int(i): _loss_change(r) for i, r in content["results"].items()}
        _check_indices(results, indices)
        return Point(
            float(content["factor"]),
            int(content["iterations"]),
            float(content["seconds"]),
            results,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, error) from error


def _loss_change(content: Mapping[str, float | None]) -> LossChange:
    end, diverged = content["end"], content["diverged"]
    return LossChange(
        float(content["start"]),
        None if end is None else float(end),
        None if diverged is None else int(diverged),
    )


def _check_indices(found: Mapping[int, object], expected: set[int]) -> None:
    if found.keys() != expected:
        raise ValueError(f"it is of the macro-layers {sorted(found)}")
