"""Renders a report: one HTML file that needs nothing else, and what --live adds.

The templates, the style and the script are in html/. The tables are rendered
here for the first page and for --live alike; the curves and the pictures are drawn by
the script from the JSON in the page.
"""

import base64
import hashlib
from dataclasses import asdict, dataclass
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from generator.paper import TABLE_1_COLUMNS
from swwae.report import tables, values
from swwae.report.images import PAPERS_CHANGE, Filters, Reconstructions
from swwae.report.stages import Experiment, Stage
from swwae.report.table_1 import Table1, table_1
from swwae.runs.run import STAGES

FOLDER = Path(__file__).resolve().parent / "html"

HEADINGS = {
    "notices": "What is missing or wrong",
    "stages": "Stages, time and memory",
    "provenance": "What was run",
    "results": "Classification errors",
    "curves": "Training curves",
    "reconstructions": "Reconstructions",
    "filters": "First-layer filters",
    "losses": "Losses at the end of each stage",
}
"""Of the page's sections, by their ids."""

CHANGING = ("notices", "stages", "provenance", "results", "losses")
"""Sections that a running stage changes."""


@dataclass(frozen=True)
class Pictures:
    """What only finished stages have: reconstructions, and filters."""

    reconstructions: Reconstructions | None
    filters: list[Filters]


@dataclass(frozen=True)
class Tables:
    """What the templates of the changing sections show."""

    experiment: Experiment
    table_1: Table1
    data_sets: list[tables.DataSet]
    notices: list[str]

    purposes = STAGES
    provenance = staticmethod(tables.provenance)
    losses = staticmethod(tables.losses)
    activations = staticmethod(tables.activations)

    @property
    def net(self) -> str:
        return self.experiment.net

    @property
    def stages(self) -> list[Stage]:
        return self.experiment.stages

    @property
    def columns(self) -> dict[str, dict[int, list[str]]]:
        """Returns the columns of Table 1: scheme -> k -> splits."""
        columns: dict[str, dict[int, list[str]]] = {}
        for scheme, k, split in TABLE_1_COLUMNS:
            columns.setdefault(scheme, {}).setdefault(k, []).append(split)
        return columns


def tables_of(experiment: Experiment, more_notices: list[str]) -> Tables:
    """Collects everything that the tables show.

    Its notices are the experiment's, more_notices, and those on results and data.
    """
    notices = [*experiment.notices, *more_notices]
    errors = table_1(experiment.stages, notices)
    data_sets = tables.data_sets(experiment.stages, notices)
    return Tables(experiment, errors, data_sets, list(dict.fromkeys(notices)))


def sections(page: Tables) -> dict[str, Markup]:
    """Renders the changing sections: id -> HTML."""
    macros = _environment().get_template("sections.html.j2").module
    return {name: getattr(macros, name)(page) for name in CHANGING}


def curve_data(experiment: Experiment) -> list[dict[str, Any]]:
    """Returns every series of every stage, for the chart."""
    return [
        {"model": stage.label, "stage": stage.run.stage, **series}
        for stage in experiment.stages
        for series in stage.curves.series
    ]


def title(experiment: Experiment) -> str:
    """Returns the page's title: the network, and the runs' names."""
    labels = dict.fromkeys(stage.label for stage in experiment.stages)
    return f"{experiment.net}: {', '.join(labels)}"


def page(
    shown: Tables,
    pictures: Pictures,
    created: str,
    command: str,
    refresh: int | None = None,
) -> str:
    """Renders the whole page.

    created: when, as text; command: the command line that makes it. refresh: seconds
    between the page's questions for /data.json; None: it asks for nothing.
    """
    style, script = _text("report.css"), _text("report.js")
    changes = [
        change for filters in pictures.filters for change in filters.change.values()
    ]
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=title(shown.experiment),
            headings=HEADINGS,
            sections=sections(shown),
            pictures=pictures,
            papers_change=PAPERS_CHANGE,
            changed_layers=list(
                dict.fromkeys(
                    layer for filters in pictures.filters for layer in filters.change
                )
            ),
            largest_change=max(filter(isfinite, changes), default=0) or 1,
            created=created,
            command=command,
            live=refresh,
            policy=_security_policy(style, script, asks=refresh is not None),
            style=Markup(style),
            script=Markup(script),
            data=_script_data(shown.experiment, pictures),
        )
        .encode("utf-8", "replace")  # a file's name may be no text
        .decode()
    )


def _security_policy(style: str, script: str, asks: bool) -> str:
    """Returns a content security policy that allows the page its own parts alone.

    asks: whether the page may ask its own server for data.
    """
    policy = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "img-src": "data:",
        "connect-src": "'self'" if asks else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in policy.items())


def _script_data(experiment: Experiment, pictures: Pictures) -> dict[str, Any]:
    """Returns what the script draws; the changes of weights are in a table already."""
    drawn = asdict(pictures)
    for filters in drawn["filters"]:
        del filters["change"]
    return {"curves": curve_data(experiment)} | drawn


@cache
def _environment() -> Environment:
    """Returns the templates' environment, which escapes all that a run's files say."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {
        "sort_keys": False,
        "allow_nan": False,
    }
    environment.filters |= {
        "figure": values.number_text,
        "seconds": values.seconds_text,
        "bytes": values.bytes_text,
    }
    return environment


def _text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Returns how a content security policy names an inline script or style."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
