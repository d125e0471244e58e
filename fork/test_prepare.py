"""prepare.py against small trees: sync, patches, CAFFE_SOURCE, the download."""

import os
import stat
import subprocess
import sys

import prepare
import pytest

PATCH = """\
Subject: say hello to more

Why: a test.

--- a/hello.txt
+++ b/hello.txt
@@ -1,3 +1,3 @@
 one
-hello
+hello all
 three
"""


@pytest.fixture
def fork(tmp_path, monkeypatch):
    """A fork/ of one patch and one own file, an empty build/, no CAFFE_SOURCE."""
    fork = tmp_path / "project/fork"
    (fork / "patches").mkdir(parents=True)
    (fork / "patches/series").write_text("hello.patch  # a comment\n")
    (fork / "patches/hello.patch").write_text(PATCH)
    (fork / "src/ours").mkdir(parents=True)
    (fork / "src/ours/new.txt").write_text("new\n")
    (fork / "build.sh").write_text("flags")
    (fork / "prepare.py").write_text("steps")
    monkeypatch.setattr(prepare, "FORK", fork)
    monkeypatch.setattr(prepare, "BUILD", tmp_path / "project/build")
    monkeypatch.delenv("CAFFE_SOURCE", raising=False)
    return fork


@pytest.fixture
def upstream(tmp_path, monkeypatch):
    """A tree that passes for Caffe's, named by CAFFE_SOURCE."""
    tree = tmp_path / "upstream"
    for landmark in prepare.LANDMARKS:
        (tree / landmark).parent.mkdir(parents=True, exist_ok=True)
        (tree / landmark).write_text(landmark)
    (tree / "hello.txt").write_text("one\nhello\nthree\n")
    (tree / "run.sh").write_text("#!/bin/sh\n")
    (tree / "run.sh").chmod(0o755)
    (tree / "link").symlink_to("hello.txt")
    (tree / ".git").mkdir()
    (tree / ".git/HEAD").write_text("ref")
    monkeypatch.setenv("CAFFE_SOURCE", str(tree))
    return tree


def snapshot(tree):
    return {
        path.relative_to(tree): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in tree.rglob("*")
        if path.is_file()
    }


def test_local_tree_is_copied_patched_and_left_alone(fork, upstream, tmp_path):
    before = snapshot(upstream)
    tree = tmp_path / "project/build/caffe-src"
    prepare.prepare(tree)
    assert (tree / "hello.txt").read_text() == "one\nhello all\nthree\n"
    assert (tree / "ours/new.txt").read_text() == "new\n"
    assert (tree / "link").is_symlink()
    assert (tree / "run.sh").stat().st_mode & stat.S_IXUSR
    assert not (tree / ".git").exists()
    assert snapshot(upstream) == before
    assert [path.name for path in tree.parent.iterdir()] == ["caffe-src"]


MARKING = """\
--- a/hello.txt
+++ b/hello.txt
@@ -1,3 +1,5 @@
 one
+// >>> taken out: upstream's
 hello
+// <<< taken out
 three
"""


def test_what_a_patch_marks_is_taken_out(fork, upstream, tmp_path):
    (fork / "patches/hello.patch").write_text(MARKING)
    tree = tmp_path / "project/build/caffe-src"
    prepare.prepare(tree)
    assert (tree / "hello.txt").read_text() == "one\nthree\n"
    assert (upstream / "hello.txt").read_text() == "one\nhello\nthree\n"


def test_marks_that_do_not_pair_are_refused(fork, upstream, tmp_path):
    half = MARKING.replace("+// <<< taken out\n", "").replace("+1,5", "+1,4")
    (fork / "patches/hello.patch").write_text(half)
    with pytest.raises(prepare.Refusal, match="do not pair in hello.txt"):
        prepare.prepare(tmp_path / "project/build/caffe-src")


def test_only_what_changed_is_touched(fork, upstream, tmp_path):
    tree = tmp_path / "project/build/caffe-src"
    prepare.prepare(tree)
    before = snapshot(tree)
    os.utime(upstream / "run.sh")  # newer, but the same
    (fork / "src/ours/new.txt").write_text("newer\n")
    (fork / "src/ours/second.txt").write_text("second\n")
    (upstream / "link").unlink()
    (tree / "stray.cpp").write_text("left from an earlier version")
    prepare.prepare(tree)
    after = snapshot(tree)
    changed = {name for name in before if before[name] != after.get(name)}
    assert {str(name) for name in changed} == {"ours/new.txt", "link"}
    assert {str(name) for name in after.keys() - before.keys()} == {"ours/second.txt"}
    assert not (tree / "link").is_symlink() and not (tree / "stray.cpp").exists()


def test_patch_that_upstream_already_has_is_passed_over(fork, upstream, capsys):
    (upstream / "hello.txt").write_text("one\nhello all\nthree\n")
    prepare.prepare(prepare.BUILD / "tree")
    assert (prepare.BUILD / "tree/hello.txt").read_text() == "one\nhello all\nthree\n"
    assert "hello.patch is in this source already" in capsys.readouterr().out


def test_patch_that_does_not_apply_is_named(fork, upstream):
    (upstream / "hello.txt").write_text("something\nelse\n")
    with pytest.raises(prepare.Refusal, match=r"fork/patches/hello\.patch does not"):
        prepare.prepare(prepare.BUILD / "tree")
    assert list(prepare.BUILD.iterdir()) == []


def test_debians_applied_patches_are_taken_back_out(fork, upstream):
    debian = upstream / "debian/patches"
    debian.mkdir(parents=True)
    (debian / "series").write_text("applied.patch\nnot-applied.patch\n")
    (debian / "applied.patch").write_text(
        "--- a/hello.txt\n+++ b/hello.txt\n@@ -1,3 +1,3 @@\n"
        " one\n-hello\n+good day\n three\n"
    )
    (debian / "not-applied.patch").write_text(
        "--- a/hello.txt\n+++ b/hello.txt\n@@ -1,3 +1,3 @@\n"
        " one\n-good day\n+good night\n three\n"
    )
    (upstream / "hello.txt").write_text("one\ngood day\nthree\n")
    prepare.prepare(prepare.BUILD / "tree")
    assert (prepare.BUILD / "tree/hello.txt").read_text() == "one\nhello all\nthree\n"


@pytest.mark.parametrize("missing", prepare.LANDMARKS)
def test_source_that_is_not_caffe_is_refused(fork, upstream, missing):
    (upstream / missing).unlink()
    with pytest.raises(prepare.Refusal, match=f"no Caffe source .* no {missing}") as e:
        prepare.prepare(prepare.BUILD / "tree")
    assert e.value.code == 2


def test_source_inside_build_is_refused(fork, upstream, monkeypatch):
    prepare.prepare(prepare.BUILD / "caffe-src")
    monkeypatch.setenv("CAFFE_SOURCE", str(prepare.BUILD / "caffe-src"))
    with pytest.raises(prepare.Refusal, match="a tree elsewhere"):
        prepare.prepare(prepare.BUILD / "caffe-src")


def test_fingerprint_follows_fork_and_source(fork, upstream, monkeypatch):
    seen = [prepare.fingerprint()]
    assert prepare.fingerprint() == seen[0]
    (fork / "src/ours/new.txt").write_text("newer\n")
    seen.append(prepare.fingerprint())
    (fork / "build.sh").write_text("other flags")
    seen.append(prepare.fingerprint())
    (fork / "README.md").write_text("no part of the build")
    assert prepare.fingerprint() == seen[-1]
    os.utime(upstream / "hello.txt", (1, 1))
    seen.append(prepare.fingerprint())
    (upstream / ".git/HEAD").write_text("another branch")
    assert prepare.fingerprint() == seen[-1]
    monkeypatch.delenv("CAFFE_SOURCE")
    seen.append(prepare.fingerprint())
    assert len(set(seen)) == 5


def test_command_line_ends_with_a_sentence(tmp_path):
    done = subprocess.run(
        [sys.executable, prepare.__file__, str(tmp_path / "tree")],
        check=False,
        env={**os.environ, "CAFFE_SOURCE": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("fork/build.sh: CAFFE_SOURCE=")
    assert len(done.stderr.splitlines()) == 1


def test_the_series_lists_every_patch_and_each_says_why():
    series = prepare.read_series(prepare.FORK / "patches/series")
    assert sorted(series) == sorted((prepare.FORK / "patches").glob("*.patch"))
    for patch in series:
        header = patch.read_text().partition("\n--- ")[0]
        assert header.startswith("Subject: ") and "\nWhy: " in header, patch.name
