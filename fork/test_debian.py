"""debian.py and onednn.py with stand-ins for apt-get and packages."""

import hashlib
import os
import subprocess

import debian
import onednn
import pytest
from debian import Refusal

INDEXED = """\
Debian Debian-Security http://mirror.invalid/debian-security/
Other Debian http://other.invalid/debian/
Debian Debian http://mirror.invalid/archive/
"""
WOULD_FETCH = """\
'http://mirror.invalid/debian-security/dists/x-security/InRelease' mirror.invalid_1 0
'http://mirror.invalid/debian/dists/x/InRelease' mirror.invalid_2 0
"""


def fake_apt(tmp_path, monkeypatch, script, indexed=INDEXED, would_fetch=""):
    """An apt-get that knows mirrors and, where it should fetch, runs `script`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "indexed").write_text(indexed)
    (folder / "would_fetch").write_text(would_fetch)
    apt = folder / "apt-get"
    apt.write_text(
        '#!/bin/sh\ncase "$*" in\n'
        f"*indextargets*) cat '{folder}/indexed'; exit;;\n"
        f"*print-uris*) cat '{folder}/would_fetch'; exit;;\nesac\n{script}"
    )
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setattr(debian, "KEYRING", str(apt))


def test_mirror_is_the_archive_and_not_security(tmp_path, monkeypatch):
    fake_apt(tmp_path, monkeypatch, "")
    assert debian.mirror("or not") == "http://mirror.invalid/archive/"


def test_mirror_before_the_first_update(tmp_path, monkeypatch):
    fake_apt(tmp_path, monkeypatch, "", indexed="", would_fetch=WOULD_FETCH)
    assert debian.mirror("or not") == "http://mirror.invalid/debian/"


def test_no_mirror(tmp_path, monkeypatch):
    fake_apt(tmp_path, monkeypatch, "", indexed="")
    with pytest.raises(Refusal, match="no Debian mirror.* or not"):
        debian.mirror("or not")


FORGED = hashlib.sha256(b"forged\n").hexdigest()
PINNED = {"a.deb": FORGED, "b.deb": "0" * 64}


def fetch(folder, pinned=PINNED):
    return debian.fetch(
        pinned,
        folder,
        suite="bookworm",
        kind="deb",
        words=["download", "a", "b"],
        what="a and b",
        instead="or not",
    )


def test_failed_download_says_why_and_what_to_do(tmp_path, monkeypatch):
    fake_apt(tmp_path, monkeypatch, "echo 'E: could not resolve' >&2; exit 100\n")
    with pytest.raises(Refusal, match=r"a and b failed \(could not resolve\).*or not"):
        fetch(tmp_path / "downloads")
    assert list((tmp_path / "downloads").iterdir()) == []


@pytest.mark.parametrize("script", ["", "echo forged > a.deb; echo bad > b.deb\n"])
def test_wrong_checksum_is_refused_and_nothing_is_kept(tmp_path, monkeypatch, script):
    fake_apt(tmp_path, monkeypatch, script)
    wrong = ("b.deb", "0" * 64) if script else ("a.deb", FORGED)
    with pytest.raises(Refusal, match=f"{wrong[0]} is not.*expected sha256 {wrong[1]}"):
        fetch(tmp_path / "downloads")
    assert list((tmp_path / "downloads").iterdir()) == []


def test_what_is_there_is_not_fetched_again(tmp_path, monkeypatch):
    pinned = {"a.deb": FORGED}
    fake_apt(tmp_path, monkeypatch, "echo forged > a.deb\n")
    files = fetch(tmp_path / "downloads", pinned)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert fetch(tmp_path / "downloads", pinned) == files
    files[0].write_text("rotten")
    with pytest.raises(Refusal, match="needs apt-get; use Debian, or not"):
        fetch(tmp_path / "downloads", pinned)


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Two packages that pass for oneDNN's, as if they had been downloaded."""
    found = []
    for name, file in (("library", "libdnnl.so.2"), ("headers", "libdnnl.so")):
        tree = tmp_path / name
        library = tree / onednn.LINKED
        library.parent.mkdir(parents=True)
        library.with_name(file).write_text(name)
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\n"
            "Description: x\n"
        )
        found.append(tmp_path / f"{name}.deb")
        subprocess.run(
            ["dpkg-deb", "--build", tree, found[-1]], check=True, capture_output=True
        )
    monkeypatch.setattr(onednn, "fetch", lambda *a, **k: found)
    return found


def test_onednn_is_unpacked_whole_and_once(packages, tmp_path, monkeypatch):
    place = tmp_path / "build/onednn"
    place.mkdir(parents=True)
    (place / "half").write_text("left by an interrupted run")
    onednn.unpack(place)
    assert (place / onednn.LINKED).read_text() == "headers"
    assert (place / onednn.LINKED).with_suffix(".so.2").read_text() == "library"
    assert not (place / "half").exists() and len(list(place.parent.iterdir())) == 1
    monkeypatch.setattr(onednn, "fetch", None)
    onednn.unpack(place)


def test_a_package_without_the_library_is_refused(packages, tmp_path):
    with pytest.raises(Refusal, match=r"has no usr/lib/.*libdnnl\.so"):
        packages.reverse()
        del packages[0]
        packages.append(packages[0])
        onednn.unpack(tmp_path / "build/onednn")
    assert not (tmp_path / "build/onednn").exists()
