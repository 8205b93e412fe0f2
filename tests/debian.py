"""Installs what tests need on a Debian machine, as root; elsewhere says why not."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile

_LOCK = os.path.join(tempfile.gettempdir(), f"snapstore-tests-{os.geteuid()}.lock")


def install(*packages: str) -> str:
    """Why the packages cannot be installed; empty if they have been. Package lists are got first where there are none.

    One process at a time: others that run tests as well wait for it.
    """
    if os.geteuid() != 0:
        return f"not installed, and installing takes uid 0: {' '.join(packages)}"
    if shutil.which("apt-get") is None:
        return f"not installed, and there is no apt-get to install them: {' '.join(packages)}"
    with open(_LOCK, "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        trouble = _apt("install", "-y", "--no-install-recommends", *packages)
        if trouble:
            # A machine that has just been set up knows no packages yet, or old ones.
            trouble = _apt("update") or _apt("install", "-y", "--no-install-recommends", *packages)
    return f"cannot be installed here: {' '.join(packages)}: {trouble}" if trouble else ""


def _apt(*arguments: str) -> str:
    """The last line of what apt-get said, empty if it succeeded."""
    settings = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    ran = subprocess.run(["apt-get", "-q", *arguments], env=settings, capture_output=True, check=False)
    if ran.returncode == 0:
        return ""
    lines = (ran.stderr or ran.stdout).decode(errors="replace").strip().splitlines()
    return lines[-1][-300:] if lines else f"apt-get left with {ran.returncode}"
