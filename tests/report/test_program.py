"""What --live serves, and the sentences that report.py ends with."""

import http.client
import json
import socket
import sys
import threading
from pathlib import Path

import pytest

from generator.errors import UserError
from swwae.report import live, tables
from swwae.report.page import (
    sections,
    tables_of,
)
from swwae.report.stages import collect
from tests.helpers.reported import write

# --- what --live serves


@pytest.fixture
def server():
    """Asks a server for an address; the data are a number that grows."""
    counts = iter(range(100))
    port: list[int] = []
    started = threading.Event()

    def ready(address):
        port.append(int(address.rstrip("/").rpartition(":")[2]))
        started.set()

    def data():
        if next(counts) == 0:
            return {"value": 1}
        raise UserError("the runs are gone.")

    thread = threading.Thread(
        target=live.serve,
        args=(live.Server(0), lambda: "<p>page</p>", data, ready),
        daemon=True,
    )
    thread.start()
    assert started.wait(10)

    def ask(path, host=None, method="GET"):
        connection = http.client.HTTPConnection("127.0.0.1", port[0], timeout=10)
        connection.request(
            method, path, headers={"Host": host or f"127.0.0.1:{port[0]}"}
        )
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers

    ask.port = port[0]
    return ask


def test_only_the_page_and_its_data_are_served(server):
    status, text, headers = server("/")
    assert (status, text) == (200, "<p>page</p>")
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    status, text, _ = server("/data.json")
    assert (status, json.loads(text)) == (200, {"value": 1})
    for path in ("/index.html", "/../setup.py", "/%2e%2e/setup.py", "//etc/passwd"):
        assert server(path)[0] == 404
    assert server("/", method="HEAD")[:2] == (200, "")
    assert server("/", method="POST")[0] == 501


def test_another_sites_name_is_refused(server):
    assert server("/data.json", host=f"localhost:{server.port}")[0] == 200
    for host in ("evil.example", f"evil.example:{server.port}", "127.0.0.1:1"):
        assert server("/data.json", host=host)[0] == 403
        assert server("/", host=host)[0] == 403


@pytest.mark.parametrize("made", [UserError("gone."), KeyError("gone")])
def test_what_cannot_be_made_is_answered_by_a_sentence(made):
    def fail():
        raise made

    with live.Server(0) as server:
        thread = threading.Thread(
            target=live.serve, args=(server, fail, fail, lambda address: None)
        )
        thread.start()
        try:
            for path in ("/", "/data.json"):
                connection = http.client.HTTPConnection(
                    "127.0.0.1", server.server_port, timeout=10
                )
                connection.request("GET", path)
                answer = connection.getresponse()
                text = answer.read().decode()
                assert answer.status == (503 if isinstance(made, UserError) else 500)
                assert "gone" in (text if path == "/" else json.loads(text)["error"])
        finally:
            server.shutdown()
            thread.join()


def test_data_are_not_made_anew_at_once():
    made = []
    cached = live.Cached(lambda: made.append(1) or len(made))
    assert [cached(), cached()] == [1, 1]
    cached._until = 0
    assert cached() == 2


def test_a_port_in_use_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} cannot be had.*--port N"):
            live.Server(port)


# --- the program


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["runs/none/none"], "there is no folder runs/none/none"),
        (["runs", "--live", "--out", "x.html"], "--live writes no file"),
        (["runs", "--port", "3"], "--port is that of --live"),
        (["runs", "--out", "x.txt"], "the page is a .html file"),
        (["runs", "--live", "--port", "65536"], "no whole number"),
    ],
)
def test_mistakes_are_sentences(arguments, sentence, monkeypatch, capsys):
    from swwae.base import program
    from swwae.commands import report

    monkeypatch.setattr(sys, "argv", ["report.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        program.run(report.main)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_no_page_where_its_folder_is_missing(tmp_path, swwae, monkeypatch, capsys):
    from swwae.base import program
    from swwae.commands import report

    out = tmp_path / "none" / "page.html"
    run = str(tmp_path / "vgg8/swwae-all")
    monkeypatch.setattr(sys, "argv", ["report.py", run, "--out", str(out)])
    with pytest.raises(SystemExit) as ended:
        program.run(report.main)
    assert ended.value.code == 2
    assert "there is no folder" in capsys.readouterr().err
    assert not Path(out).parent.exists()


def test_a_collapse_is_named_and_its_figures_shown(tmp_path, swwae):
    change = {"conv1/pool": {"before": 2.0, "after": 0.01}}
    write(swwae[4], activations=change, warning="the encoder has collapsed: why.")
    experiment = collect([swwae[4].folder.parent])
    stage = next(s for s in experiment.stages if s.run.stage == 4)
    (found,) = tables.activations(stage)
    assert (found.name, found.before, found.after) == ("conv1/pool", 2.0, 0.01)
    assert found.share == pytest.approx(0.5)
    page = sections(tables_of(experiment, []))
    assert "the encoder has collapsed: why." in page["notices"]
    assert "conv1/pool" in page["losses"] and ">0.5<" in page["losses"]


def test_refusals_come_before_long_work(tmp_path, swwae, monkeypatch, capsys):
    from swwae.base import program
    from swwae.commands import report

    work: list[str] = []
    for name in ("evaluate_missing", "Report"):
        monkeypatch.setattr(report, name, lambda *_, name=name, **__: work.append(name))
    run = str(tmp_path / "vgg8/swwae-all")
    (tmp_path / "report.html").mkdir()  # where the page would be written
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for options in ([], ["--live", "--port", port]):
            monkeypatch.setattr(sys, "argv", ["report.py", run, "--evaluate", *options])
            with pytest.raises(SystemExit) as ended:
                program.run(report.main)
            assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "report.html is a folder" in said and "cannot be had" in said
    assert not work
