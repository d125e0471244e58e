"""A report in a real browser: what it shows equals what the runs hold."""

import json
import re
import shutil
import signal
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from playwright import sync_api as playwright

from generator.paper import TABLE_1
from swwae.engine.log import read_log
from swwae.nets import weights
from swwae.runs.run import Run
from tests.helpers.report_project import FAULT, Project

REPOSITORY = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    reason = "there is no chromium: apt-get install chromium"
    pytest.skip(reason, allow_module_level=True)

RUNS = [f"runs/tiny/{name}" for name in ("swwae-all", "swwae-layerwise")]
SECOND = "swwae-layerwise, stage 2"
WIDE, PHONE = {"width": 1200, "height": 900}, {"width": 360, "height": 740}
CHECKED = """
import json
from pathlib import Path
from swwae.evaluation.evaluate import evaluate
from swwae.evaluation.model import SCHEMES, Model
from swwae.evaluation.reconstruct import load, reconstruct
pictures, errors = {}, {}
for variant, stage, depth in (
    ("swwae-all", 4, 1), ("swwae-all", 4, 2), ("swwae-layerwise", 2, 1)
):
    file = Path(f"runs/tiny/{variant}/stage{stage}/final.caffemodel").resolve()
    model = Model("tiny", variant, depth, file)
    images = [load(model, name) for name in ("val:0", "gradient.png")]
    before, after, l2 = reconstruct(model, images)
    pictures[f"{variant}, stage {stage}, {depth}"] = {
        "before": [image[0].tolist() for image in before],
        "after": [image[0].tolist() for image in after],
        "errors": l2.tolist(),
    }
for scheme, split in (
    ("single-crop", "train"), ("single-crop", "val"), ("convolution", "val")
):
    model = SCHEMES[scheme]("tiny", "swwae-all")
    errors[f"{scheme}, {split}"] = evaluate(model, model.images(split))
print(json.dumps({"pictures": pictures, "errors": errors}))
"""
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
CONTRASTS = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => [r, g, b].map((v) => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = parse(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return null;
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !parent.checkVisibility()) continue;
    if (["SCRIPT", "STYLE"].includes(parent.tagName)) continue;
    const style = getComputedStyle(parent);
    const ink = parse(parent.namespaceURI.endsWith("svg") ? style.fill : style.color);
    const [a, b] = [light(ink), light(behind(parent))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), walker.currentNode.data.trim()]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("report") / "project")


@pytest.fixture(scope="module")
def page_file(project):
    """The report of four runs, one of them failed, and what the tool said."""
    out = project.root / "page.html"
    failed = "runs/tiny/sae-first"
    given = [*RUNS, failed, "runs/tiny/none", "--evaluate", "--out", out]
    said = project.report(*given, "--images", "gradient.png", "gone.png")
    assert "page.html: 0." in said
    return out, said


@pytest.fixture(scope="module")
def found(project, page_file):
    """What the tools behind the report find of the same weights, without it."""
    return project.python(CHECKED)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        options = {"executable_path": CHROMIUM, "args": ["--no-sandbox"]}
        started = driver.chromium.launch(**options)
        yield started
        started.close()


@pytest.fixture
def opened(browser):
    """Opens an address; afterwards the page must have had no error."""
    contexts, faults, expected = [], [], []

    def open_page(address, viewport=WIDE, **settings):
        context = browser.new_context(viewport=viewport, **settings)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: faults.append(message.text))
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.asked = []
        tab.on("request", lambda request: tab.asked.append(request.url))
        tab.goto(address)
        return tab

    open_page.expected = expected
    yield open_page
    for context in contexts:
        context.close()
    assert [f for f in faults if not any(words in f for words in expected)] == []


@pytest.fixture
def page(opened, page_file):
    return opened(page_file[0].as_uri())


def rows(page, selector: str) -> list[list[str]]:
    """The cells of a table's rows."""
    return page.eval_on_selector_all(
        f"{selector} tr",
        "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))",
    )


def pixels(page, selector: str) -> np.ndarray:
    found = page.evaluate(PIXELS, selector)
    return np.array(found["values"]).reshape(-1, found["width"])


# --- the page


def test_it_asks_for_nothing_and_runs_nothing_that_a_file_says(page, page_file):
    asked = [url for url in page.asked if not url.startswith("data:")]
    assert asked == [page_file[0].as_uri()]
    assert page.title() == "tiny: baseline, swwae-layerwise, swwae-all, sae-first"
    assert page.locator("#notices script").count() == 0
    assert FAULT in page.locator("#notices").inner_text()


def test_what_is_missing_is_named_on_the_page_and_on_stderr(page, page_file):
    named = page.locator("#notices li").all_inner_texts()
    for words in (
        "there is no folder runs/tiny/none",
        "stage 3 of tiny/sae-first failed after 2 of 8 iterations",
        "stage 4 of tiny/swwae-layerwise has not been started: tools/run_stage.sh 4",
        "there is no image gone.png",
    ):
        assert sum(words in each for each in named) == 1
        assert words in page_file[1]


def test_structure(page):
    levels = page.eval_on_selector_all(
        "h1, h2, h3, h4", "all => all.map(each => Number(each.tagName[1]))"
    )
    assert levels[0] == 1 and set(levels[1:]) == {2}
    for landmark in ("header", "nav[aria-label]", "main"):
        assert page.locator(landmark).count() == 1
    unnamed = page.eval_on_selector_all(
        "select, input, button",
        """all => all.filter(each => !(each.labels?.length
          || each.ariaLabel || each.querySelector("img[alt]:not([alt=''])")))
          .map(each => each.outerHTML)""",
    )
    assert unnamed == []
    assert page.locator("th:not([scope])").count() == 0
    links = page.locator("nav a").evaluate_all(
        "all => all.map(each => document.querySelector(each.hash)?.tagName)"
    )
    assert links == ["SECTION"] * 8


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(opened, page_file, scheme):
    page = opened(page_file[0].as_uri(), PHONE, color_scheme=scheme)
    page.eval_on_selector_all("details", "all => all.forEach(each => each.open = true)")
    widths = "[document.documentElement.scrollWidth, window.innerWidth]"
    assert page.evaluate(widths) == [360, 360]
    assert page.locator("#table-1").bounding_box()["width"] > 360  # scrolls inside


def test_a_phone_shows_which_stage_is_in_which_state(opened, page_file):
    page = opened(page_file[0].as_uri(), PHONE)
    edges = page.locator("#stages td.state").evaluate_all(
        "all => all.map(each => each.getBoundingClientRect().right)"
    )
    assert len(edges) > 5 and max(edges) <= PHONE["width"]
    page.evaluate("document.querySelector('#stages .scroll').scrollLeft = 400")
    assert page.evaluate("document.querySelector('#stages .scroll').scrollLeft") > 0
    names = page.locator("#stages tbody th").evaluate_all(
        "all => all.map(each => each.getBoundingClientRect().left)"
    )
    assert min(names) >= 0


def test_dark_and_light_are_both_readable(opened, page_file):
    paper = {}
    for scheme in ("light", "dark"):
        page = opened(page_file[0].as_uri(), color_scheme=scheme)
        everything = "all => all.forEach(each => each.open = true)"
        page.eval_on_selector_all("details", everything)
        found = page.evaluate(CONTRASTS)
        assert len(found) > 200
        assert min(found)[0] >= 4.5, min(found)
        paper[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 27)"}


def test_nothing_moves_for_those_who_want_that(opened, page_file):
    behaviour = "getComputedStyle(document.documentElement).scrollBehavior"
    for motion, expected in (("reduce", "auto"), ("no-preference", "smooth")):
        page = opened(page_file[0].as_uri(), reduced_motion=motion)
        assert page.evaluate(behaviour) == expected


# --- tables


def test_table_1_equals_what_evaluate_finds(page, found):
    train, val, whole = found["errors"].values()
    assert val["top1_error"] > 0
    expected = [train["top1_error"], val["top1_error"]]
    expected += [train["top5_error"], val["top5_error"]]
    expected += [whole["top1_error"], whole["top5_error"]]
    table = {row[0]: row[1:] for row in rows(page, "#table-1")[3:]}
    assert table["swwae-all, stage 4"] == [
        *(f"{error:.2f}" for error in expected),
        f"{val['recon_l2']:.4g}",
    ]
    paper = [f"{error:.2f}" for error in TABLE_1["swwae-all"][1]]
    assert table["SWWAE-all, paper"] == [*paper, "–"]
    assert "baseline, stage 0" in table
    assert page.locator("#empty-cells").count() == 0


def test_what_is_not_evaluated_is_empty_and_has_its_command(opened, project):
    stage = "runs/tiny/baseline/stage0"
    shutil.copytree(project.root / stage, project.root / "other" / stage[5:])
    (project.root / "other" / stage[5:] / "results.json").unlink(missing_ok=True)

    def cells(page) -> list[str]:
        table = {row[0]: row[1:] for row in rows(page, "#table-1")[3:]}
        return table["baseline, stage 0"]

    said = project.report("other/tiny/baseline")
    assert "other/report.html: 0." in said
    page = opened((project.root / "other/report.html").as_uri())
    assert cells(page) == ["–"] * 7
    page.locator("#empty-cells summary").click()
    command = page.locator("#empty-cells code").first.inner_text()
    project.run(command.split())
    project.report("other/tiny/baseline")
    page.reload()
    filled = [True, False, True, False, False, False, False]
    assert [cell != "–" for cell in cells(page)] == filled


def test_losses_are_the_statuses(page, project):
    status = project.status("swwae-all/stage4")
    table = rows(page, '#loss-table tbody[data-stage="swwae-all, stage 4"]')
    assert [row[0] for row in table[1:]] == [
        "dec:loss@data",
        "dec:loss@conv1",
        "loss",
        "accuracy",
        "total",
    ]
    loss = status["final_losses"]["dec:loss@conv1"]
    test = status["test_outputs"]["dec:loss@conv1"]["value"]
    numbers = [loss["weight"], loss["value"], loss["weight"] * loss["value"]]
    numbers += [test, loss["weight"] * test]
    assert table[2][1:] == [f"{number:.4g}" for number in numbers]


def test_stages_time_and_memory_are_the_statuses(page, project):
    status = project.status("swwae-all/stage4")
    memory = status["peak_memory_bytes"]
    assert 20e6 < memory < 1e9
    (row,) = (r for r in rows(page, "#stages table") if r[0] == "swwae-all, stage 4")
    assert (row[1], row[3]) == ("finished", "8 of 8")
    assert row[6:] == [
        f"{status['iterations_per_second']:.3g}",
        f"{memory / 1e6:.1f} MB",
    ]


def test_the_peak_of_all_sessions_is_kept(project):
    path = project.root / "sessions/tiny/baseline/stage0/status.json"
    peaks = []
    for iterations, before in ((8, None), (16, 10**15), (24, 1)):
        if before is not None:
            status = json.loads(path.read_text()) | {"peak_memory_bytes": before}
            path.write_text(json.dumps(status))
        settings = {"RUNS_DIR": "sessions"}
        project.stage("baseline", 0, "--max-iter", iterations, **settings)
        peaks.append(json.loads(path.read_text())["peak_memory_bytes"])
    assert peaks[1] == 10**15
    assert 20e6 < peaks[0] < 1e9 and 20e6 < peaks[2] < 1e9


def test_provenance_is_the_statuses(page, project):
    status = project.status("baseline/stage0")
    (own,) = [
        each
        for each in page.locator("#provenance details").all()
        if each.locator("summary").inner_text().startswith("baseline, stage 0")
    ]
    own.locator("summary").click()
    terms = own.locator("dt").all_inner_texts()
    said = dict(zip(terms, own.locator("dd").all_inner_texts(), strict=True))
    assert said["command"] == "tools/run_stage.sh 0 --net tiny --variant swwae-all"
    assert said["seed"] == str(status["seed"])
    assert said["version of fork"] == status["versions"]["fork"]
    assert said["weights it left"].endswith(status["weights_out"]["sha256"])
    data = rows(page, "#provenance table")
    assert data[1][:2] == ["data/tiny/train_lmdb", "32"]
    assert data[2][:2] == ["data/tiny/test_lmdb", "12"]


# --- curves


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


# --- pictures


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


# --- following a run


PREFIX = "I1124 06:20:42.123456 12345 solver.cpp:239] "


def logged(iteration: int, loss: float) -> str:
    return (
        f"{PREFIX}Iteration {iteration} (2 iter/s, 5s/10 iters), loss = {loss}\n"
        f"{PREFIX}    Train net output #0: loss = {loss} (* 1 = {loss} loss)\n"
        f"{PREFIX}Iteration {iteration}, lr = 0.1\n"
    )


@pytest.fixture
def live(project):
    """A stage that seems to run, and the server that follows it."""
    run = Run("vgg8", "baseline", 0, root=project.root / "live")
    status = {"state": "running", "iterations": 0, "max_iter": 1000}
    with run.locked():
        run.write_status(status)
        run.log.write_text(logged(0, 2.5))
        program = project.root / "tools/report.py"
        words = [program, "live/vgg8/baseline", "--live", "--port", "0"]
        process = subprocess.Popen(
            words, cwd=project.root, stdout=subprocess.PIPE, text=True
        )
        try:
            address = re.match(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
            assert address, "no address was said"
            yield run, status, address[0], process
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def test_a_running_stage_is_followed(opened, live, project):
    run, status, address, process = live
    page = opened(address)
    page.select_option("#curve-value", "loss (training)")
    page.locator("#made-baseline-stage-0 summary").click()
    page.wait_for_function(
        "document.querySelector('.iterations').innerText == '0 of 1,000'"
    )
    with run.log.open("a") as log:
        log.write(logged(200, 1.25) + logged(400, 0.5))
    until = {"timeout": 20_000}
    playwright.expect(page.locator(".iterations")).to_have_text("400 of 1,000", **until)
    playwright.expect(page.locator(".left")).to_have_text("5:00")
    playwright.expect(page.locator("#followed")).to_contain_text(
        "iteration 400, 5:00 left"
    )
    assert page.locator("#chart circle").count() == 3
    np.testing.assert_allclose(
        drawn_points(page, "baseline, stage 0"),
        [[0, 2.5], [200, 1.25], [400, 0.5]],
        rtol=0.01,
        atol=0.5,
    )
    assert page.locator("#legend .value").inner_text() == "0.5"
    assert page.input_value("#curve-value") == "loss (training)"
    assert page.locator("#made-baseline-stage-0").get_attribute("open") is not None
    run.final_weights.write_bytes(b"")
    run.write_status(status | {"state": "finished", "iterations": 1000, "ended": "now"})
    playwright.expect(page.locator("td.state")).to_have_text("finished", **until)
    playwright.expect(page.locator("#said")).to_contain_text("baseline, stage 0")
    asked = {url for url in page.asked if not url.startswith("data:")}
    assert asked == {address, f"{address}data.json"}
    port = address.rstrip("/").rpartition(":")[2]
    said = project.report("live/vgg8/baseline", "--live", "--port", port, code=2)
    assert f"port {port} cannot be had: another program uses it" in said
    opened.expected.append("ERR_CONNECTION_REFUSED")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0
    playwright.expect(page.locator("#followed")).to_contain_text(
        "does not answer", **until
    )
