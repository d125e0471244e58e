"""The page's chart draws the logs, and tells their values."""

import numpy as np
import pytest

from swwae.engine.log import read_log
from tests.helpers.report_page import SECOND, drawn_points, rows


@pytest.mark.parametrize("scale", ["linear", "logarithmic"])
def test_the_chart_draws_the_log(page, project, scale):
    page.select_option("#curve-value", "total loss (training)")
    page.select_option("#curve-stage", "0")
    page.select_option("#curve-scale", scale)
    x, y = read_log(project.path("baseline/stage0", "train.log")).loss
    points = drawn_points(page, "baseline, stage 0", scale == "logarithmic")
    np.testing.assert_allclose(points[:, 0], x, atol=0.5)
    np.testing.assert_allclose(points[:, 1], y, rtol=0.01, atol=0.002)


def test_values_at_an_iteration_by_key_and_by_pointer(page, project):
    page.select_option("#curve-value", "dec:loss@data (test)")
    page.select_option("#curve-stage", "all")
    values = page.locator("#legend li")
    titles = [t.split("\n")[0] for t in values.all_inner_texts()]
    assert "swwae-all, stage 4" in titles and SECOND in titles
    index = titles.index("swwae-all, stage 4")
    x, y = read_log(project.path("swwae-all/stage4", "train.log")).test["dec:loss@data"]
    shown = values.nth(index).locator(".value")
    page.focus("#curve-at")
    page.keyboard.press("End")
    assert page.locator("#curve-iteration").inner_text() == str(x[-1])
    assert float(shown.inner_text()) == y[-1]
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    at = int(page.locator("#curve-iteration").inner_text())
    assert float(shown.inner_text()) == y[x <= at][-1]
    said = page.locator("#curve-at").get_attribute("aria-valuetext")
    assert (
        f"iteration {at}: " in said and f"swwae-all, stage 4 {y[x <= at][-1]:g}" in said
    )
    circles = page.locator('#chart [data-line="swwae-all, stage 4"] circle')
    place = float(circles.nth(2).get_attribute("cx"))
    page.locator("#chart").hover(position={"x": place, "y": 100})
    assert page.locator("#curve-iteration").inner_text() == str(x[2])
    assert float(shown.inner_text()) == y[2]


def test_lines_can_be_left_out_and_values_read_in_a_table(page, project):
    page.select_option("#curve-value", "dec:loss@data (training)")
    page.select_option("#curve-stage", "all")
    lines = page.locator("#chart [data-line]")
    assert lines.count() == 3
    for left_out in (SECOND, "swwae-all, stage 4"):
        page.focus(f'#legend input[value="{left_out}"]')
        page.keyboard.press("Space")
    assert lines.count() == 1
    page.locator("#curve-details summary").click()
    head, *body = rows(page, "#curve-table")
    assert head == ["Iteration", "swwae-all, stage 3"]
    x, y = read_log(project.path("swwae-all/stage3", "train.log")).train[
        "dec:loss@data"
    ]
    assert [int(row[0]) for row in body] == x.tolist()
    assert [float(row[1]) for row in body] == y.tolist()
