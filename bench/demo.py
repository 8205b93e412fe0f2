"""The main job on this machine: snapshot real trees twice into the default store, restore, and prove them identical.

`python -m bench.demo [--work DIR]`, run by `make demo`. It drives the command line as a person would, and compares the
restored trees with the originals by a comparer that shares no code with snapstore.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import time
from typing import Any

from tests.compare import compare, shown

WANTED = (b"/etc", b"/usr/include")
SOURCES_PARTLY_UNREADABLE = 3


def run(*arguments: str | bytes, accept: tuple[int, ...] = (0,)) -> tuple[float, list[dict[str, Any]]]:
    """(seconds, JSON messages) of one snapstore command; exits where it fails."""
    command = [sys.executable, "-m", "snapstore", "--json", *(os.fsdecode(each) for each in arguments)]
    began = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    seconds = time.perf_counter() - began
    if done.returncode not in accept:
        sys.exit(f"demo: {' '.join(command)} failed with exit code {done.returncode}")
    return seconds, [json.loads(line) for line in done.stdout.splitlines()]


def summary(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The last message, which sums up what a command did."""
    return messages[-1] if messages else {}


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.1f} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1024
    return f"{count:.2f} GiB"


def path_of(message: dict[str, Any]) -> bytes:
    """The very bytes of a message's path."""
    exact = message.get("path_b64")
    return os.fsencode(message["path"]) if exact is None else base64.b64decode(exact)


def unlike(source: bytes, restored: bytes, unread: set[bytes]) -> list[str]:
    """The differences between a tree and its restored copy, those aside that come from what nobody let us read.

    Only root can give files away, so for anybody else owners do not count.
    """
    starts = tuple(
        shown(os.path.relpath(path, source)) + end
        for path in unread
        if path == source or path.startswith(source + b"/")
        for end in (": ", "/")
    )
    ignore = () if os.geteuid() == 0 else ("owner",)
    return [line for line in compare(source, restored, ignore=ignore) if not line.startswith(starts)]


def main() -> None:
    """Runs the demonstration; exits non-zero where the restored trees differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", default="build/demo", help="where to restore to; emptied first")
    work = os.fsencode(os.path.abspath(parser.parse_args().work))
    if os.path.isdir(work):
        # The restored copy of a directory that its owner may not write to cannot be emptied as it is.
        subprocess.run(["chmod", "-R", "u+rwX", work], check=True)
        shutil.rmtree(work)
    os.makedirs(work)
    trees = [path for path in WANTED if os.path.isdir(path)]
    print("snapshot of", *(os.fsdecode(path) for path in trees), "into the default store", flush=True)
    rows = []
    unread: set[bytes] = set()
    for title in ("first snapshot", "second snapshot"):
        seconds, messages = run("snapshot", *trees, accept=(0, SOURCES_PARTLY_UNREADABLE))
        unread |= {path_of(each) for each in messages if each["message_type"] == "warning"}
        done = summary(messages)
        rows.append((title, seconds, done))
    for title, seconds, done in rows:
        stored = done["stored_data"] + done["stored_manifest"]
        print(
            f"{title:16} {seconds:7.2f} s   {done['files']:,} files, {size(done['size'])}; "
            f"new: {size(done['new_data'])} of contents, stored in {size(stored)}"
        )
    target = os.path.join(work, b"restored")
    seconds, messages = run("restore", "latest", "--target", target, "--verify", accept=(0, SOURCES_PARTLY_UNREADABLE))
    print(f"{'restore, verify':16} {seconds:7.2f} s   into {os.fsdecode(target)}")
    seconds, _ = run("check", "--read-data")
    print(f"{'check of all':16} {seconds:7.2f} s")
    differences = [line for path in trees for line in unlike(path, target + path, unread)]
    for line in differences[:20]:
        print("  differs:", line)
    if differences:
        sys.exit(f"demo: {len(differences)} differences between the originals and what was restored")
    note = f" ({len(unread):,} paths could not be read by this user and are not in it)" if unread else ""
    attributes = "attributes" if os.geteuid() == 0 else "attributes, owners aside, which only root can restore"
    print(f"the restored trees are identical to the originals in content and {attributes}{note}")


if __name__ == "__main__":
    main()
