"""Fetches pinned files of Debian's archive through apt, which checks the signatures.

apt works on a state folder of its own: the machine's sources stay as they are. Needs
nothing but the standard library, since it runs before any package is there.
"""

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from program import Refusal

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def apt_get(*words: str) -> list[str]:
    """The lines that apt-get prints; none where it fails."""
    done = subprocess.run(
        ["apt-get", *words], check=False, capture_output=True, text=True
    )
    return done.stdout.splitlines()


def mirror(instead: str) -> str:
    """The address of the Debian mirror that this machine installs from."""
    # Origin and label tell Debian's archive from Debian-Security and from others.
    listed = apt_get(
        "indextargets",
        "--format",
        "$(ORIGIN) $(LABEL) $(REPO_URI)",
        "Created-By: Packages",
    )
    found = [line.split()[2] for line in listed if line.startswith("Debian Debian ")]
    if not found:  # no apt-get update yet: what it would fetch, and the usual path
        would_fetch = apt_get("--print-uris", "update")
        addresses = [line.strip("'").partition("dists/")[0] for line in would_fetch]
        found = [x for x in addresses if x.endswith("/debian/")]
    if not found:
        raise Refusal(
            "This machine's apt names no Debian mirror to fetch from;"
            f" use Debian, {instead}."
        )
    return found[0]


def fetch(
    pinned: Mapping[str, str],
    folder: Path,
    *,
    suite: str,
    kind: str,
    words: Sequence[str],
    what: str,
    instead: str,
) -> list[Path]:
    """The pinned files in `folder`, downloaded unless they are there.

    `pinned` has the SHA-256 of each file by its name. `kind` is a source line's first
    word, deb or deb-src; `words` make apt-get download the files into the folder that
    it runs in. `what` is fetched, and `instead` is what else the person can do: "or …".
    Raises Refusal where they can't be had or are not the pinned ones.
    """
    files = [folder / name for name in pinned]
    if all(file.is_file() and sha256_of(file) == pinned[file.name] for file in files):
        return files
    if not shutil.which("apt-get"):
        raise Refusal(f"Fetching {what} needs apt-get; use Debian, {instead}.")
    if not Path(KEYRING).is_file():
        raise Refusal(
            f"{KEYRING} is missing; apt-get install debian-archive-keyring, {instead}.",
            code=2,
        )
    print(f"fetching {what} of Debian {suite}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        state = Path(name)
        for part in ("lists/partial", "cache/archives/partial"):
            (state / part).mkdir(parents=True)
        (state / "status").touch()
        (state / "sources.list").write_text(
            f"{kind} [signed-by={KEYRING}] {mirror(instead)} {suite} main\n"
        )
        apt = [
            "apt-get", "-qq",
            "-o", f"Dir::State={state}",
            "-o", f"Dir::State::lists={state}/lists",
            "-o", f"Dir::State::status={state}/status",
            "-o", f"Dir::Cache={state}/cache",
            "-o", f"Dir::Etc::sourcelist={state}/sources.list",
            "-o", "Dir::Etc::sourceparts=/dev/null",
            "-o", "Acquire::Languages=none",
            "-o", "APT::Sandbox::User=root",
            "-o", "APT::Update::Error-Mode=any",
        ]  # fmt: skip
        for command in (["update"], list(words)):
            done = subprocess.run(
                apt + command, check=False, cwd=state, capture_output=True, text=True
            )
            if done.returncode:
                errors = [x for x in done.stderr.splitlines() if x.startswith("E:")]
                reason = errors[0][2:].strip() if errors else "apt-get gave no reason"
                raise Refusal(
                    f"Downloading {what} failed ({reason})."
                    f" Run this again when the network is up, {instead}."
                )
        for file in files:
            _check(state / file.name, pinned[file.name], instead)
        for file in files:
            (state / file.name).replace(file)
    return files


def _check(fetched: Path, expected: str, instead: str) -> None:
    found = sha256_of(fetched) if fetched.is_file() else "no such file"
    if found != expected:
        raise Refusal(
            f"The downloaded {fetched.name} is not the pinned one: expected sha256"
            f" {expected}, found {found}. Do not use it; try another Debian mirror,"
            f" {instead}."
        )
