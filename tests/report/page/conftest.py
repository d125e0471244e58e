"""A report in a real browser: what it shows equals what the runs hold."""

import shutil

import pytest
from playwright import sync_api as playwright

from tests.helpers.report_page import WIDE
from tests.helpers.report_project import Project

CHROMIUM = shutil.which("chromium")
collect_ignore_glob = [] if CHROMIUM else ["test_*.py"]

RUNS = [f"runs/tiny/{name}" for name in ("swwae-all", "swwae-layerwise")]
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


def pytest_report_header():
    if collect_ignore_glob:
        return "left out is tests/report/page: apt-get install chromium"
    return None


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """Trained once for all files: a test may add a folder of its own, no more."""
    return Project(tmp_path_factory.mktemp("report") / "project")


@pytest.fixture(scope="session")
def page_file(project):
    """The report of four runs, one of them failed, and what the tool said."""
    out = project.root / "page.html"
    failed = "runs/tiny/sae-first"
    given = [*RUNS, failed, "runs/tiny/none", "--evaluate", "--out", out]
    said = project.report(*given, "--images", "gradient.png", "gone.png")
    assert "page.html: 0." in said
    return out, said


@pytest.fixture(scope="session")
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
