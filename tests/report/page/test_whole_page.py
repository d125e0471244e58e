"""The page as a whole: it asks for nothing, fits a phone, and is readable."""

import pytest

from tests.helpers.report_page import PHONE
from tests.helpers.report_project import FAULT

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
