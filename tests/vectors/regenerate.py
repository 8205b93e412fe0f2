"""Writes the vectors of format version 1, or with --verify compares them: `python -m tests.vectors.regenerate`.

Frames of zstd differ between its releases. So a file that holds one is kept as it is if it is there, and only its
readers are held to it; every other file has to come out byte for byte.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from blake3 import blake3

from tests.vectors import forge, golden, hostile, hostile_xml

PLACE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "v1")


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=True) + "\n").encode()


def numbers() -> dict[str, object]:
    """The vectors that are no files of the store: gear table, cut points, ids, and ids of sharded documents."""
    gear = blake3(b"snapstore 1 gear table").digest(length=2048)
    data = golden.cut_buffer()
    return {
        "gear-table": {
            "blake3": blake3(gear).hexdigest(),
            "first": [int.from_bytes(gear[i : i + 8], "little") for i in range(0, 32, 8)],
            "last": int.from_bytes(gear[-8:], "little"),
        },
        "chunk-ids": {text: blake3(text.encode()).hexdigest() for text in ("", "a", "snapstore")},
        "cut-points": {
            "buffer": blake3(data).hexdigest(),
            "sets": [
                {"minimum": low, "average": middle, "maximum": high, "ends": _shortened(data, low, middle, high)}
                for low, middle, high in golden.CUT_PARAMETERS
            ],
        },
        "tree-shards": [blake3(each).hexdigest() for each in golden.tree_documents(golden.plain_entries(1500))],
        "chunk-list-shards": [blake3(each).hexdigest() for each in golden.list_documents(3000)],
    }


def _shortened(data: bytes, low: int, middle: int, high: int) -> dict[str, object]:
    ends = forge.cut_points(data, low, middle, high)
    listed = b"".join(end.to_bytes(4, "little") for end in ends)
    return {"count": len(ends), "first": ends[:20], "blake3": blake3(listed).hexdigest()}


def wanted() -> tuple[dict[str, bytes], set[str]]:
    """(path below v1: bytes of each file; the paths that may differ with the release of libzstd)."""
    vectors = [*golden.documents(), *golden.objects()]
    files = {vector.file: vector.data for vector in vectors}
    free = {vector.file for vector in vectors if vector.compressed}
    files["numbers.json"] = _json(numbers())
    files["manifest.json"] = _json(
        [
            {"file": vector.file, "exact": vector.exact, "compressed": vector.compressed, "meaning": vector.meaning}
            for vector in vectors
        ]
    )
    cases = [*hostile.cases(), *hostile_xml.cases()]
    for case in cases:
        files[f"should-fail/{case.file}"] = case.data
    files["should-fail/table.json"] = _json(
        [
            {"file": case.file, "reader": case.reader, "error": case.error, "phrase": case.phrase}
            for case in cases
        ]
    )  # fmt: skip
    return files, free


def differences() -> list[str]:
    """What in the directory is not as it has to be; empty if all is well."""
    files, free = wanted()
    there = {os.path.relpath(os.path.join(base, name), PLACE) for base, _, names in os.walk(PLACE) for name in names}
    found = [f"{path}: nothing makes it" for path in sorted(there - files.keys())]
    for path, data in sorted(files.items()):
        if path not in there:
            found.append(f"{path}: missing")
        elif path not in free and _read(path) != data:
            found.append(f"{path}: other bytes")
    return found


def _read(path: str) -> bytes:
    with open(os.path.join(PLACE, path), "rb") as file:
        return file.read()


def regenerate() -> None:
    """Nothing; the directory holds every vector afterwards, frames of zstd as they were."""
    files, free = wanted()
    for path, data in files.items():
        target = os.path.join(PLACE, path)
        if path in free and os.path.exists(target):
            continue
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as file:
            file.write(data)


def main() -> int:
    """0 if the vectors are in order."""
    parser = argparse.ArgumentParser(description="Writes the vectors of the format, or compares them.")
    parser.add_argument("--verify", action="store_true", help="write nothing, say what differs")
    if not parser.parse_args().verify:
        regenerate()
    found = differences()
    sys.stdout.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
