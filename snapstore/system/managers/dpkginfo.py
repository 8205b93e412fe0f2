"""The lists of files in dpkg's info directory: `PACKAGE.list`, `.md5sums`, `.conffiles`, read once each and checked.

A package that may be installed for several architectures has its architecture in the names (`libc6:amd64.list`).
`.list` has every path, directories too; `.md5sums` has regular files, without the first slash; `.conffiles` what is a
configuration file, of which `status` says more.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Self

from snapstore import kernel
from snapstore.errors import PackageDatabaseError
from snapstore.system.managers.dpkgdatabase import INFO, PATH_LIMIT, Record, is_path
from snapstore.system.managers.trouble import Trouble, shown
from snapstore.system.packages import Warn
from snapstore.system.root import READ_LIMIT, Root, RootError

_PIECE = 1 << 20
_DIGITS = frozenset(b"0123456789abcdefABCDEF")


class Listing:
    """What the files of one package say: paths as they are listed, and MD5 digits by path. `whole` as in Record.

    The root directory, which almost every package lists, is `top` and not among the paths.
    """

    __slots__ = ("configuration", "digests", "installed", "paths", "top", "whole")

    def __init__(self) -> None:
        self.top = False
        self.paths: list[bytes] = []
        self.digests: dict[bytes, bytes] = {}
        self.configuration: frozenset[bytes] = frozenset()
        self.installed = 0
        self.whole = True


class Info:
    """The info directory of a root, held open. PackageDatabaseError if it is there and cannot be read."""

    def __init__(self, root: Root, warn: Warn) -> None:
        self._root = root
        self._warn = warn
        self._fd = -1
        self._times: dict[bytes, int] = {}
        """The file names, and the seconds of when they were last written."""
        try:
            self._fd = root.open(INFO, directory=True)
            names, records, _, _ = kernel.scan_directory(self._fd)
        except OSError as error:
            self.close()
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise PackageDatabaseError(f"{INFO.decode()} cannot be read: {error.strerror}") from error
            return
        times = (entry[3] for entry in kernel.ENTRY.iter_unpack(records))
        self._times = dict(zip(names.split(b"\0"), times, strict=False))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def there(self) -> bool:
        """Whether there is such a directory at all."""
        return self._fd >= 0

    def close(self) -> None:
        """Nothing; the directory is closed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def stem(self, record: Record) -> bytes:
        """What the names of a package's files begin with."""
        plain, qualified = record.name.encode(), f"{record.name}:{record.arch}".encode()
        first, second = (qualified, plain) if record.shared else (plain, qualified)
        return second if first + b".list" not in self._times and second + b".list" in self._times else first

    def lines(self, stem: bytes) -> list[bytes]:
        """The lines of a list, unchecked; none where it cannot be read."""
        try:
            return self._read_here(stem + b".list").split(b"\n")
        except OSError:
            return []

    def stems(self) -> list[bytes]:
        """All that there are lists for, sorted."""
        return sorted(name[:-5] for name in self._times if name.endswith(b".list"))

    def listing(self, stem: bytes, *, removed: bool = False) -> Listing:
        """What there is of one package; trouble is told of, and the listing then is not whole.

        Of a removed package dpkg keeps the list of its configuration files, and no digests.
        """
        found = Listing()
        with Trouble(self._warn, INFO + b"/" + stem + b".list") as trouble:
            data = self._read(stem + b".list", trouble)
            found.installed = max(0, self._times.get(stem + b".list", 0))
            found.paths = [] if data is None else _paths(data, trouble)
            if data == b"":
                trouble("it is empty, and dpkg lists the root directory at least")
            if found.paths[:1] == [b"/."]:
                found.top = True
                del found.paths[0]
            found.whole = not trouble.count
        if stem + b".md5sums" in self._times or (found.paths and not removed):
            with Trouble(self._warn, INFO + b"/" + stem + b".md5sums") as trouble:
                data = self._read(stem + b".md5sums", trouble)
                if data:
                    found.digests = _digests(data, trouble)
                found.whole = found.whole and not trouble.count
        if stem + b".conffiles" in self._times:
            with Trouble(self._warn, INFO + b"/" + stem + b".conffiles") as trouble:
                found.configuration = _configuration(self._read(stem + b".conffiles", trouble) or b"", trouble)
                found.whole = found.whole and not trouble.count
        return found

    def _read(self, name: bytes, trouble: Trouble) -> bytes | None:
        """The bytes of a file; None, and trouble, where there is none or it cannot be read."""
        try:
            return self._read_here(name)
        except OSError as error:
            if error.errno == errno.ELOOP and name in self._times:  # a link, which leads somewhere in the root
                try:
                    data = self._root.read(INFO + b"/" + name)
                except RootError as inner:
                    error = inner
                else:
                    if data is not None:
                        return data
                    error = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            trouble("it is missing" if error.errno == errno.ENOENT else f"it cannot be read: {error.strerror}")
            return None

    def _read_here(self, name: bytes) -> bytes:
        if self._fd < 0:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        kind = stat.S_IFMT(os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mode)
        if kind == stat.S_IFLNK:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if kind != stat.S_IFREG:  # nothing else is opened: to open a pipe can already be to do something
            raise OSError(errno.EINVAL, "it is no regular file")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=self._fd)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is no regular file")
            pieces, size = [], 0
            while piece := os.read(fd, min(_PIECE, status.st_size + 1) if not size else _PIECE):
                pieces.append(piece)
                size += len(piece)
                if size > READ_LIMIT:
                    raise OSError(errno.EFBIG, f"it has more than {READ_LIMIT} bytes")
            return b"".join(pieces)
        finally:
            os.close(fd)


def _is_suspect(data: bytes, start: int) -> bool:
    """Whether some path may have a detour in it, or end in a slash. Cheap: most lists are found sound by this alone."""
    if any(data.find(each, start) >= 0 for each in (b"//", b"/\n", b"\0")):
        return True
    dot = data.find(b"/.", start)
    return dot >= 0 and any(data.find(each, dot) >= 0 for each in (b"/./", b"/../", b"/.\n", b"/..\n"))


def _paths(data: bytes, trouble: Trouble) -> list[bytes]:
    """The paths of a list, the root directory as `/.`. What cannot be one is told of and left out."""
    lines = data.split(b"\n")
    if lines.pop():
        trouble("its last line may be cut off")
    start = 3 if data[:3] == b"/.\n" else 0
    sound = data.count(b"\n/") == len(lines) - 1 and data[:1] == b"/" if lines else not data
    if sound and not _is_suspect(data, start) and max(map(len, lines), default=0) < PATH_LIMIT:
        return lines
    kept = [b"/."] if b"/." in lines else []
    for number, line in enumerate(lines, start=1):
        if is_path(line):
            kept.append(line)
        elif line not in (b"", b"/."):
            trouble(f"line {number} is no path: {shown(line)}")
    return kept


def _digests(data: bytes, trouble: Trouble) -> dict[bytes, bytes]:
    """The digits of each file, by absolute path: 32 digits, two blanks, the path to the end of the line."""
    lines = data.split(b"\n")
    if lines.pop():
        trouble("its last line may be cut off")
    found = {b"/" + line[34:]: line[:32] for line in lines if line[32:34] == b"  "}
    digits = frozenset(b"".join(found.values()))
    sound = len(found) == len(lines) and digits <= _DIGITS and max(map(len, lines), default=0) < PATH_LIMIT
    if sound and not _is_suspect(data, 0) and not any(each in data for each in (b"  /", b"  .", b"  \n")):
        return found
    found, contested = {}, set()
    for number, line in enumerate(lines, start=1):
        path = b"/" + line[34:].removeprefix(b"./")
        if not line:
            continue
        if line[32:34] != b"  " or not frozenset(line[:32]) <= _DIGITS or not is_path(path):
            trouble(f"line {number} is no digest of a file: {shown(line)}")
        elif found.setdefault(path, line[:32]) != line[:32]:
            trouble(f"line {number} states another digest: {shown(line)}")
            contested.add(path)
    for path in contested:
        del found[path]
    return found


def _configuration(data: bytes, trouble: Trouble) -> frozenset[bytes]:
    """The configuration files that the package ships: a path a line, after a flag if it is only to be removed."""
    found = set()
    for line in data.split(b"\n"):
        if is_path(line):
            found.add(line)
        elif line.strip() and not (line.startswith(b"remove-on-upgrade ") and is_path(line[18:].strip())):
            trouble(f"a configuration file makes no sense: {shown(line)}")
    return frozenset(found)
