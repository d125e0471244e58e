"""The page's reconstructions and filters, compared pixel by pixel."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from swwae.nets import weights
from tests.helpers.report_page import PHONE, SECOND, rows

PIXELS = """async (selector) => {
  const image = document.querySelector(selector);
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return { width: canvas.width, values: [...data].filter((_, i) => i % 4 === 0) };
}"""


def pixels(page, selector: str) -> np.ndarray:
    found = page.evaluate(PIXELS, selector)
    return np.array(found["values"]).reshape(-1, found["width"])


@pytest.fixture(scope="module")
def expected(found):
    return found["pictures"]


SHOWN = "#reconstruction img"


def test_reconstructions_and_originals_pixel_by_pixel(page, expected):
    for place, name in ((0, "val:0 (class 0)"), (1, "gradient.png")):
        page.select_option("#image", label=name)
        for key, own in expected.items():
            title, _, depth = key.rpartition(", ")
            page.select_option("#model", title)
            page.select_option("#depth", depth)
            np.testing.assert_array_equal(pixels(page, SHOWN), own["after"][place])
            caption = page.locator("#reconstruction-caption").inner_text()
            assert f"{title}, from macro-layer {depth}" in caption
            l2 = float(caption.rpartition(" ")[2])
            assert l2 == pytest.approx(own["errors"][place], rel=1e-5)
            page.hover("#reconstruction")
            np.testing.assert_array_equal(pixels(page, SHOWN), own["before"][place])
            page.mouse.move(0, 0)
            np.testing.assert_array_equal(pixels(page, SHOWN), own["after"][place])
    before, after = (np.array(own[key][1]) for key in ("before", "after"))
    assert np.abs(before - after).mean() > 5


def test_all_models_and_layers_are_there_to_choose(page, expected):
    page.select_option("#image", label="gradient.png")
    table = rows(page, "#overview")
    assert table[0] == ["Model", "original", "macro-layer 1", "macro-layer 2"]
    cells = {row[0]: row[2:] for row in table[1:]}
    for title, depths in (("swwae-all, stage 4", (1, 2)), (SECOND, (1,))):
        l2 = [expected[f"{title}, {depth}"]["errors"][1] for depth in depths]
        found = [float(cell) for cell in cells[title] if cell]
        assert found == pytest.approx(l2, rel=1e-5)
    page.get_by_role("button", name="Show swwae-all, stage 4, macro-layer 1").click()
    assert page.input_value("#model") == "swwae-all, stage 4"
    assert page.input_value("#depth") == "1"
    own = expected["swwae-all, stage 4, 1"]["after"][1]
    np.testing.assert_array_equal(pixels(page, SHOWN), own)


def test_reconstructions_by_keyboard(page, expected):
    page.select_option("#image", label="gradient.png")
    page.select_option("#model", "swwae-all, stage 4")
    page.select_option("#depth", "2")
    page.focus("#depth")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "reconstruction"
    original = expected["swwae-all, stage 4, 2"]["before"][1]
    np.testing.assert_array_equal(pixels(page, SHOWN), original)
    own = expected["swwae-all, stage 4, 2"]["after"][1]
    for shown in (own, original):  # a press switches
        page.keyboard.press("Enter")
        np.testing.assert_array_equal(pixels(page, SHOWN), shown)
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowLeft")
    assert page.input_value("#depth") == "1"
    assert page.evaluate("document.activeElement.id") == "reconstruction"
    lower = expected["swwae-all, stage 4, 1"]["after"][1]
    np.testing.assert_array_equal(pixels(page, SHOWN), lower)
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    np.testing.assert_array_equal(pixels(page, SHOWN), original)
    page.keyboard.press("ArrowRight")
    np.testing.assert_array_equal(pixels(page, SHOWN), own)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    assert page.input_value("#model") == SECOND
    page.keyboard.press("ArrowUp")
    assert page.input_value("#model") == "swwae-all, stage 4"
    page.keyboard.press("Space")
    page.keyboard.press("Shift+Tab")
    np.testing.assert_array_equal(pixels(page, SHOWN), original)  # it stays
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+Tab")
    shown = page.input_value("#depth")
    after = expected[f"swwae-all, stage 4, {shown}"]["after"][1]
    np.testing.assert_array_equal(pixels(page, SHOWN), after)


def test_a_tap_keeps_the_original_and_another_gives_it_back(
    opened, page_file, expected
):
    page = opened(page_file[0].as_uri(), PHONE, has_touch=True)
    page.select_option("#image", label="gradient.png")
    page.select_option("#model", "swwae-all, stage 4")
    page.select_option("#depth", "2")
    own = expected["swwae-all, stage 4, 2"]
    for shown in ("before", "after"):
        page.tap("#reconstruction")
        np.testing.assert_array_equal(pixels(page, SHOWN), own[shown][1])


@cache
def first_layer(path: Path) -> np.ndarray:
    return weights.read(path)["conv1"][0].astype(np.float64)


def test_filters_flip_between_before_and_after(page, project):
    page.select_option("#filters-of", label="swwae-all, stage 4")
    before = first_layer(project.path("swwae-all/stage3", "final.caffemodel"))
    after = first_layer(project.path("swwae-all/stage4", "final.caffemodel"))
    assert np.abs(after - before).max() > 0
    largest = np.maximum(np.abs(before), np.abs(after)).max(axis=(1, 2, 3))
    for hovered, own in ((False, after), (True, before)):
        if hovered:
            page.hover("#filters-button")
        shown = pixels(page, "#filters-button img")
        assert shown.shape == (38, 38)  # 2 x 2 filters, 6 pixels an element, a line
        for index in range(4):
            top, left = 20 * (index // 2), 20 * (index % 2)
            unit = own[index, 0] / largest[index]
            elements = shown[top + 3 : top + 18 : 6, left + 3 : left + 18 : 6]
            np.testing.assert_allclose(elements, 127.5 + 127.5 * unit, atol=1)
    change = 100 * np.abs(after - before).sum() / np.abs(before).sum()
    table = {row[0]: row[1:] for row in rows(page, "#change")}
    title = table["Layer"].index("swwae-all, stage 4")
    assert table["conv1"][title] == f"{change:.1f}"
    bars = page.locator("#change tbody rect").evaluate_all(
        "all => all.map(each => Number(each.getAttribute('width')))"
    )
    assert max(bars) == 100
