"""The page follows a stage that is running."""

import re
import signal
import subprocess

import numpy as np
import pytest
from playwright import sync_api as playwright

from swwae.runs.run import Run
from tests.helpers.report_page import drawn_points

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
