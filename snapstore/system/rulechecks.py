"""What has to be true of a path beyond its name for a rule to hold: what a link leads to, what lies beside, bytes.

A check looks at the path itself, at what is beside it, at a packaged file, and at what is owned, and no further: so its
answer stays the same as long as those do. Where it cannot look, it has not seen that the rule holds.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable

from snapstore.system.root import Root, RootError

Owns = Callable[[bytes], bool]
"""Whether a package owns a canonical path of the root."""

Check = Callable[[Root, bytes, str, Owns], bool]

_SMALL = 1 << 20
_LINKS = 4
_SWAP_MAGIC = b"SWAPSPACE2"
_PAGE_SIZES = (4096, 8192, 16384, 65536)
_BYTECODE = re.compile(rb"(.+)/__pycache__/([^/]+?)\.[a-z]+-?[0-9]+(?:\.opt-[0-9a-z]+)?\.pyc\Z", re.DOTALL).match


def passes(check: str, root: Root, path: bytes, *, detail: str, owned: Owns) -> bool:
    """Whether a path of the root is what the check asks for; False too where that cannot be seen."""
    try:
        return CHECKS[check](root, path, detail, owned)
    except (RootError, OSError):
        return False


def _target(root: Root, path: bytes) -> bytes | None:
    """Where a link leads, its own directory resolved and its last component as it is; None if it is no link."""
    text = root.readlink(path)
    if text is None:
        return None
    parent, name = os.path.split(os.path.join(os.path.dirname(path), text))
    if name in (b"", b".", b".."):
        return root.resolve(os.path.join(parent, name))
    return os.path.join(root.resolve(parent), name)


def _link(root: Root, path: bytes, detail: str, owned: Owns) -> bool:  # noqa: ARG001
    return root.readlink(path) is not None


def _link_to(root: Root, path: bytes, detail: str, owned: Owns) -> bool:  # noqa: ARG001
    target = root.readlink(path)
    return target is not None and target in os.fsencode(detail).split(b"\n")


def _owned_link(root: Root, path: bytes, detail: str, owned: Owns) -> bool:
    places = tuple(os.fsencode(detail).split(b"\n"))  # an empty one allows everything
    directory = os.path.dirname(path)
    for _ in range(_LINKS):
        target = _target(root, path)
        if target is None or owned(target):
            return target is not None and target.startswith(places)
        if os.path.dirname(target) != directory:
            return False
        path = target
    return False


def _alternative(root: Root, path: bytes, detail: str, owned: Owns) -> bool:
    return _link_to(root, path, detail, owned) and _owned_link(root, path, "", owned)


def _bytecode(root: Root, path: bytes, detail: str, owned: Owns) -> bool:  # noqa: ARG001
    match = _BYTECODE(path)
    if match is not None:
        return owned(b"%b/%b.py" % (match[1], match[2]))
    if path.endswith(b".pyc"):
        return owned(path[:-1])
    return owned(os.path.dirname(path))  # the directory itself, beside what is compiled into it


def _content(root: Root, path: bytes) -> bytes | None:
    """The bytes of a small regular file; None for anything else, links included."""
    status = root.status(path)
    if status is None or not stat.S_ISREG(status.st_mode) or status.st_size > _SMALL:
        return None
    return root.read(path, limit=_SMALL)


def _copy(root: Root, path: bytes, detail: str, owned: Owns) -> bool:
    template = root.canonical(os.fsencode(detail))
    found = _content(root, path)
    return found is not None and owned(template) and found == _content(root, template)


def _text(root: Root, path: bytes, detail: str, owned: Owns) -> bool:  # noqa: ARG001
    found = _content(root, path)
    return found is not None and hashlib.sha256(found).hexdigest() in detail.split("\n")


def _empty(root: Root, path: bytes, detail: str, owned: Owns) -> bool:  # noqa: ARG001
    return _content(root, path) == b""


def _kernel(root: Root, path: bytes, detail: str, owned: Owns) -> bool:  # noqa: ARG001
    directory, name = os.path.split(path)
    return owned(os.path.join(directory, b"vmlinuz-" + name.partition(b"-")[2]))


def _swap(root: Root, path: bytes, detail: str, owned: Owns) -> bool:  # noqa: ARG001
    status = root.status(path)
    if status is None or not stat.S_ISREG(status.st_mode):
        return False
    fd = root.open(path)
    try:
        ends = [os.pread(fd, len(_SWAP_MAGIC), size - len(_SWAP_MAGIC)) for size in _PAGE_SIZES]
    finally:
        os.close(fd)
    return _SWAP_MAGIC in ends


CHECKS: dict[str, Check] = {
    "alternative": _alternative,
    "copy": _copy,
    "empty": _empty,
    "kernel": _kernel,
    "link": _link,
    "link-to": _link_to,
    "owned-link": _owned_link,
    "python-bytecode": _bytecode,
    "swap": _swap,
    "text": _text,
}
"""By name:

* `link`: it is a link. `link-to`: one whose text is a line of the detail.
* `owned-link`: it is a link to what a package owns, be it through others in the same directory; the detail has lines of
  what the path that it leads to may start with.
* `alternative`: both, as update-alternatives(1) makes them.
* `copy`: a regular file with the same bytes as the packaged file that the detail names. `text`: one whose SHA-256 is a
  line of the detail. `empty`: one of no bytes.
* `kernel`: the kernel of the same version lies beside it and is owned.
* `python-bytecode`: the source that it was compiled from lies where it belongs and is owned.
* `swap`: it has the signature that mkswap(8) writes.
"""
