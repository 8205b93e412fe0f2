"""The data that is measured: each corpus is made once, the same for the same seed or machine, and kept until asked for.

Beside the directory `NAME` of a finished corpus stands `NAME.json` with the recipe it was made by; a corpus with
another recipe, or an unfinished or edited one, is made again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import stat
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from bench import trees
from bench.words import Words

SEED = 20_240_229
MANY = 100_000
"""Files of the many-small corpus at least, at scale 1."""
_MANY_MAX_FILES, _MANY_MAX_BYTES = 130_000, 4_000_000_000
_LARGE = 2_200_000_000
_HUGE = 10_000_000_000
_ROWS = 640_000
_EDITED, _APPENDED, _DELETED = 300, 2_000, 50
_PER_DIRECTORY = 100

Recipe = Mapping[str, str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A finished corpus: what to snapshot, how much it is, and in a sentence where it came from.

    `path` is a directory, or the single file of a large-file corpus; `size` is in bytes.
    """

    name: str
    path: bytes
    files: int
    size: int
    source: str


def many_small(base: bytes, *, scale: float = 1.0, tree: bytes | None = None) -> Corpus:
    """At least `MANY` x scale files of realistic sizes: a copy of a real tree of this machine, else synthetic text.

    `tree` names the directory to copy; without it the first of several usual places that is large enough is taken.
    """
    wanted = _scaled(MANY, scale, least=40)
    chosen = tree if tree is not None else _real_tree(wanted)
    recipe: Recipe = {"kind": "tree", "files": wanted, "from": os.fsdecode(chosen) if chosen else "", "seed": SEED}

    def build(path: bytes) -> str:
        if chosen is None:
            _write_synthetic(path, files=wanted)
            return f"synthetic source text, seed {SEED}"
        limit = _MANY_MAX_FILES if scale >= 1 else wanted
        trees.copy(chosen, path, max_files=limit, max_bytes=_MANY_MAX_BYTES)
        return f"a copy of {_shown(chosen)} (at most {limit:,} files)"

    return _prepared(base, "many-small", recipe, build)


def one_large(base: bytes, *, scale: float = 1.0) -> Corpus:
    """One file of at least 2.2 GB x scale: a ustar stream of this machine's files in walk order."""
    size = _scaled(_LARGE, scale, least=2_000_000)
    recipe: Recipe = {"kind": "ustar", "size": size, "from": "/usr/lib /usr/share /usr/bin", "seed": SEED}

    def build(path: bytes) -> str:
        os.mkdir(path)
        with open(os.path.join(path, b"large.tar"), "xb") as stream:
            digest = _write_ustar(stream.write, size=size)
        return f"a ustar stream of /usr/lib, /usr/share, /usr/bin in walk order, BLAKE2b {digest[:16]}"

    return _single(_prepared(base, "one-large", recipe, build), b"large.tar")


def one_huge(base: bytes, *, scale: float = 1.0) -> Corpus:
    """One file of 10 GB x scale of compressible text in which no chunk occurs twice."""
    size = _scaled(_HUGE, scale, least=4_000_000)

    def build(path: bytes) -> str:
        os.mkdir(path)
        chooser = random.Random(SEED)
        pool = Words(SEED).text(chooser, size=min(64 << 20, size))
        with open(os.path.join(path, b"huge.txt"), "xb") as stream:
            written = 0
            while written < size:
                # Pieces far shorter than a chunk, from anywhere in the pool: every chunk is new, and compresses.
                start = chooser.randrange(len(pool) - 8192)
                piece = pool[start : start + min(chooser.randint(1024, 8192), size - written)]
                written += stream.write(piece)
        return f"shuffled pieces of synthetic text, seed {SEED}"

    return _single(_prepared(base, "one-huge", {"kind": "pieces", "size": size, "seed": SEED}, build), b"huge.txt")


def dump_with_edits(base: bytes, *, scale: float = 1.0) -> Corpus:
    """Two versions of a table dump of 110 MB x scale, `v1.sql` and `v2.sql`.

    In the second, 300 rows are edited in place at random, 50 are deleted and 2,000 appended (times the scale).
    """
    rows = _scaled(_ROWS, scale, least=2_000)
    edited, deleted = _scaled(_EDITED, scale, least=6), _scaled(_DELETED, scale, least=2)
    appended = _scaled(_APPENDED, scale, least=10)
    recipe: Recipe = {"kind": "dump", "rows": rows, "edited": edited, "deleted": deleted, "appended": appended}

    def build(path: bytes) -> str:
        os.mkdir(path)
        changed = random.Random(SEED).sample(range(rows), edited + deleted)
        edits, deletions = set(changed[:edited]), set(changed[edited:])
        with open(os.path.join(path, b"v1.sql"), "xb") as first, open(os.path.join(path, b"v2.sql"), "xb") as second:
            head = b"COPY page (id, title, touched, digest, length, body) FROM stdin;\n"
            first.write(head)
            second.write(head)
            for number, (row, other) in enumerate(_rows(rows + appended)):
                if number < rows:
                    first.write(row)
                if number not in deletions:
                    second.write(other if number in edits else row)
            first.write(b"\\.\n")
            second.write(b"\\.\n")
        return f"{rows:,} rows; {edited:,} edited, {deleted:,} deleted, {appended:,} appended; seed {SEED}"

    return _prepared(base, "dump-with-edits", {**recipe, "seed": SEED}, build)


def tiny_files(base: bytes, *, files: int) -> Corpus:
    """`files` files of 0 to 200 bytes, a hundred to a directory."""

    def build(path: bytes) -> str:
        chooser = random.Random(SEED)
        pool = Words(SEED).text(chooser, size=1 << 20)
        for first in range(0, files, _PER_DIRECTORY):
            number = first // _PER_DIRECTORY
            directory = os.path.join(path, b"%03d" % (number // 100), b"%02d" % (number % 100))
            os.makedirs(directory)
            for index in range(first, min(first + _PER_DIRECTORY, files)):
                start = chooser.randrange(len(pool) - 200)
                content = b"%08x " % chooser.getrandbits(32) + pool[start : start + 191]
                with open(os.path.join(directory, b"f%07d" % index), "xb", buffering=0) as stream:
                    stream.write(content[: chooser.randrange(201)])
        return f"{files:,} files of 0-200 bytes, {_PER_DIRECTORY} to a directory, seed {SEED}"

    return _prepared(base, f"tiny-{files}", {"kind": "tiny", "files": files, "seed": SEED}, build)


class Editor:
    """Small changes to a corpus, the same for the same seed, which are all undone at the end.

    While it is in use the corpus is marked as edited, so that a killed run does not leave a changed one behind unseen.
    """

    def __init__(self, corpus: Corpus, *, rounds: int, each: int = 10) -> None:
        """Choose `each` files for each of `rounds` rounds in one walk, without holding the names of all."""
        self._marker = _edited_marker(corpus.path)
        self._originals: dict[bytes, tuple[bytes, tuple[int, int]]] = {}
        chooser = random.Random(SEED)
        wanted = set(chooser.sample(range(corpus.files), min(corpus.files, rounds * each * 3)))
        usable = [
            path
            for index, (path, status) in enumerate(trees.files_of(corpus.path))
            if index in wanted and stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_size < 1 << 20
        ]
        chooser.shuffle(usable)
        if not usable:
            raise ValueError(f"{corpus.name}: no file that can be edited")
        self._rounds = [[usable[(number * each + n) % len(usable)] for n in range(each)] for number in range(rounds)]

    def edit(self, number: int) -> int:
        """How many files were changed for round `number`, counted from 1: a new line at the end, one in the middle."""
        with open(self._marker, "xb" if not self._originals else "ab"):
            pass
        chosen = set(self._rounds[number - 1])
        for path in sorted(chosen):
            with open(path, "rb") as stream:
                content = stream.read()
            status = os.stat(path)
            self._originals.setdefault(path, (content, (status.st_atime_ns, status.st_mtime_ns)))
            middle = len(content) // 2
            line = b"edit %d of %d\n" % (number, len(content))
            with open(path, "r+b") as stream:
                stream.write(content[:middle] + line + content[middle:] + line)
        return len(chosen)

    def undo(self) -> None:
        """Put back every file's content and times (the change time alone stays new) and take the mark away."""
        for path, (content, times) in self._originals.items():
            with open(path, "r+b") as stream:
                stream.write(content)
                stream.truncate()
            os.utime(path, ns=times)
        self._originals.clear()
        if os.path.exists(self._marker):
            os.unlink(self._marker)


def _prepared(base: bytes, name: str, recipe: Recipe, build: Callable[[bytes], str]) -> Corpus:
    """The corpus `name` under `base`, built unless a finished one with the same recipe is there."""
    path = os.path.join(base, name.encode())
    record = path + b".json"
    if os.path.exists(record) and os.path.isdir(path) and not os.path.exists(_edited_marker(path)):
        with open(record, "rb") as stream:
            stored = json.load(stream)
        if stored["recipe"] == dict(recipe):
            return Corpus(name=name, path=path, files=stored["files"], size=stored["size"], source=stored["source"])
    for stale in (path, record, _edited_marker(path)):
        trees.remove(stale)
    os.makedirs(base, exist_ok=True)
    source = build(path)
    files, size = trees.count(path)
    text = json.dumps({"recipe": dict(recipe), "files": files, "size": size, "source": source}, indent=1)
    with open(record, "xb") as stream:
        stream.write(text.encode())
    return Corpus(name=name, path=path, files=files, size=size, source=source)


def _single(corpus: Corpus, name: bytes) -> Corpus:
    """The same corpus as its only file."""
    return Corpus(
        name=corpus.name,
        path=os.path.join(corpus.path, name),
        files=corpus.files,
        size=corpus.size,
        source=corpus.source,
    )


def _edited_marker(path: bytes) -> bytes:
    return path + b".edited"


def _scaled(full: int, scale: float, *, least: int) -> int:
    return max(least, math.ceil(full * scale))


def _shown(path: bytes) -> str:
    """The path with the home directory written as ~."""
    text, home = os.fsdecode(path), os.path.expanduser("~")
    return "~" + text.removeprefix(home) if text.startswith(home + "/") else text


def _real_tree(files: int) -> bytes | None:
    """The first of the usual places of this machine that holds at least `files` files."""
    places = (os.path.expanduser(b"~/.pyenv/versions"), b"/usr/lib/python3", b"/usr")
    return next((place for place in places if trees.at_least(place, files)), None)


def _write_synthetic(path: bytes, *, files: int) -> None:
    """Source-like text files: log-normal sizes around 3 KB, one in ten a copy of an earlier one, twelve a directory."""
    chooser = random.Random(SEED)
    words = Words(SEED)
    earlier: list[bytes] = []
    for index in range(files):
        directory = os.path.join(path, b"part%03d" % (index // 1200), b"module%03d" % (index // 12 % 100))
        if index % 12 == 0:
            os.makedirs(directory)
        if earlier and chooser.random() < 0.1:
            content = chooser.choice(earlier)
        else:
            content = words.text(chooser, size=min(2_000_000, int(chooser.lognormvariate(8.0, 1.4))))
            if len(earlier) < 500:
                earlier.append(content)
        with open(os.path.join(directory, b"file%06d.py" % index), "xb") as stream:
            stream.write(content)


def _write_ustar(write: Callable[[bytes], int], *, size: int) -> str:
    """The BLAKE2b of the stream written: whole files of /usr until it is `size` bytes long, then the end mark.

    Owners, modes and times are left as zero, so that the stream depends on names and contents only. Where the machine
    has too few files, synthetic text fills up the rest.
    """
    digest = hashlib.blake2b()
    written = 0

    def put(data: bytes) -> None:
        nonlocal written
        digest.update(data)
        written += write(data)

    for name, content in _members(size):
        info = tarfile.TarInfo(name)
        info.size = len(content)
        put(info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "surrogateescape"))
        put(content)
        put(bytes(-len(content) % tarfile.BLOCKSIZE))
        if written >= size:
            break
    put(bytes(2 * tarfile.BLOCKSIZE))
    return digest.hexdigest()


def _members(size: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents for a tar stream: real files of the machine first, then text without end."""
    for top in (b"/usr/lib", b"/usr/share", b"/usr/bin"):
        for path, status in trees.files_of(top) if os.path.isdir(top) else ():
            # 100 bytes always fit in a ustar name field; larger files would make this process large.
            if not stat.S_ISREG(status.st_mode) or len(path) > 100 or status.st_size > 256 << 20:
                continue
            if os.access(path, os.R_OK):
                with open(path, "rb") as stream:
                    yield os.fsdecode(path).lstrip("/"), stream.read()
    chooser, words = random.Random(SEED), Words(SEED)
    for number in range(size):
        yield f"synthetic/{number:08d}.txt", words.text(chooser, size=1 << 20)


def _rows(count: int) -> Iterator[tuple[bytes, bytes]]:
    """Rows of a dump, each as it is and as it is after an edit."""
    chooser = random.Random(SEED)
    words = Words(SEED, lines=100)
    for number in range(count):
        title = words.phrase(chooser, words=3)
        body = words.phrase(chooser, words=chooser.randint(6, 18))
        touched = 1_600_000_000 + number * 7 + chooser.randrange(7)
        digest = f"{chooser.getrandbits(80):020x}"
        row = f"{number}\t{title}\t{touched}\t{digest}\t{len(body)}\t{body}\n"
        edited = f"{number}\t{title}\t{touched + 90_000_000}\t{digest[::-1]}\t{len(body) + 9}\t{body} (edited)\n"
        yield row.encode(), edited.encode()
