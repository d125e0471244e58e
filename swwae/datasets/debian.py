"""Data sets that come as Debian packages."""

import os
import shutil
import subprocess
from pathlib import Path

from generator.errors import UserError


def package_folder(
    package: str, folder: Path, what: str, megabytes: int, otherwise: str
) -> Path:
    """Returns `folder`, where Debian's package has its files; installs it if need be.

    what: is in there, megabytes: its size, and otherwise: what a user without the
    package can do, are for the sentences. Raises UserError with the command where that
    takes root or does not succeed.
    """
    if folder.is_dir():
        return folder
    command = f"apt-get install {package}"
    if shutil.which("apt-get") is None:
        raise UserError(
            f"{what} comes as Debian's package {package}, and this system has no"
            f" apt-get: {otherwise}"
        )
    if os.geteuid() != 0:
        raise UserError(
            f"Debian's package {package} is not installed: run sudo {command}, or"
            f" {otherwise}"
        )
    print(f"Installing Debian's package {package} ({megabytes} MB)", flush=True)
    complaint = _apt_get("install", package)
    if complaint:
        # The lists of a fresh machine are often empty, or older than the archive.
        complaint = _apt_get("update") or _apt_get("install", package)
    if complaint:
        raise UserError(
            f"Debian's package {package} could not be installed ({complaint}): run "
            f"apt-get update, then {command}, or {otherwise}"
        )
    return folder


def _apt_get(*arguments: str) -> str:
    """Runs apt-get; returns its first complaint, nothing where it succeeded."""
    waiting = ["-o", "DPkg::Lock::Timeout=120"]  # for another apt-get, seconds
    done = subprocess.run(
        ["apt-get", "--yes", "--no-install-recommends", *waiting, *arguments],
        check=False,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode == 0:
        return ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("E: ")]
    return errors[0][3:] if errors else f"exit code {done.returncode}"
