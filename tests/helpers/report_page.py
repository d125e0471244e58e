"""What several tests of a report's page read from the browser."""

import re

import numpy as np

SECOND = "swwae-layerwise, stage 2"
WIDE, PHONE = {"width": 1200, "height": 900}, {"width": 360, "height": 740}


def rows(page, selector: str) -> list[list[str]]:
    """The cells of a table's rows."""
    return page.eval_on_selector_all(
        f"{selector} tr",
        "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))",
    )


def ticks(page, axis: str) -> tuple[np.ndarray, np.ndarray]:
    """Values and places of an axis's labels."""
    attribute = "x" if axis == "x" else "y"
    found = page.eval_on_selector_all(
        f"#chart .tick-{axis}",
        f"all => all.map(t => [t.textContent, t.getAttribute('{attribute}')])",
    )
    values = np.array([float(text.replace(",", "")) for text, _ in found])
    return values, np.array([float(place) for _, place in found]) - 4 * (axis == "y")


def drawn_points(page, line: str, logarithmic: bool = False) -> np.ndarray:
    """(n, 2): the points of a line in the chart, read off its axes."""
    path = page.locator(f'#chart [data-line="{line}"] .line').get_attribute("d")
    points = np.array(
        [pair.split() for pair in re.split("[ML]", path)[1:]], dtype=float
    )
    for column, axis in enumerate("xy"):
        values, places = ticks(page, axis)
        if axis == "y" and logarithmic:
            values = np.log10(values)
        slope, offset = np.polyfit(places, values, 1)
        points[:, column] = slope * points[:, column] + offset
    if logarithmic:
        points[:, 1] = 10 ** points[:, 1]
    return points
