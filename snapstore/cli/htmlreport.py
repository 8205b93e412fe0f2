"""The audit as one HTML file that needs nothing else: no network, no other file, and no scripts to show all it holds.

What is in `report/` is put together here. Every value passes through `_printed`, so a name of any bytes is shown as
everywhere else, and then through the escaping of the template. The policy in the document's head lets exactly this
style sheet and this script run, by their hashes, and nothing else be loaded from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from importlib import resources
from typing import TYPE_CHECKING

from snapstore.cli import reportrows
from snapstore.cli.names import clean, shown
from snapstore.cli.quantities import count_text, duration_text, rfc3339, size_text
from snapstore.cli.reportmodel import MEANINGS, report_of
from snapstore.cli.reportsizes import counts_of, drawn_map
from snapstore.ops.audit import Audit
from snapstore.version import VERSION

if TYPE_CHECKING:
    import jinja2

ROW_LIMIT = 20_000
"""So many rows of a list are in the report; what is left out is counted and said."""

TEXT_LIMIT = 4096
"""So many characters of one value are shown."""

_PIECE = 1 << 16
_RESOURCES = resources.files("snapstore.cli") / "report"


def write_report(audit: Audit, put: Callable[[bytes], object], *, limit: int = ROW_LIMIT) -> None:
    """Nothing; the report has gone to `put` in pieces of a list each: one HTML document in UTF-8.

    Each list in it has at most `limit` rows. What `put` raises is passed on.
    """
    environment = _environment()
    style, script = _resource("report.css"), _resource("report.js")
    pieces = environment.get_template("report.html").generate(
        report=report_of(audit, limit=limit),
        style=style,
        script=script,
        policy=_policy(style, script),
        version=VERSION,
    )
    held: list[str] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= _PIECE:
            put("".join(held).encode())
            held, size = [], 0
    if held:
        put("".join(held).encode())


def report_bytes(audit: Audit, *, limit: int = ROW_LIMIT) -> bytes:
    """The report, whole."""
    pieces: list[bytes] = []
    write_report(audit, pieces.append, limit=limit)
    return b"".join(pieces)


def _policy(style: str, script: str) -> str:
    """The content security policy: nothing is allowed but the two texts in the document itself."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}';"
        " base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _resource(name: str) -> str:
    return (_RESOURCES / name).read_text(encoding="utf-8")


def _environment() -> jinja2.Environment:
    """Where the template runs: everything is escaped, and what is not defined is an error."""
    import jinja2
    from markupsafe import Markup

    def printed(value: object) -> object:
        return value if isinstance(value, Markup) else _printed(value)

    def verbatim(text: str) -> Markup:
        # Only for the style sheet and the script, which are ours.
        return Markup(text)  # noqa: S704

    environment = jinja2.Environment(
        autoescape=True,
        auto_reload=False,
        finalize=printed,
        keep_trailing_newline=True,
        loader=jinja2.FunctionLoader(_resource),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "bytes": size_text,
        "directory": _directory,
        "duration": duration_text,
        "kind": reportrows.kind_text,
        "mode": reportrows.mode_text,
        "n": _number,
        "name": _name,
        "of": count_text,
        "safe_words": _safe_words,
        "time": _time,
        "verbatim": verbatim,
    }
    environment.globals |= {
        "MEANINGS": MEANINGS,
        "counts_of": counts_of,
        "differences": reportrows.differences,
        "drawn_map": drawn_map,
        "file_marks": reportrows.file_marks,
        "group_marks": reportrows.group_marks,
        "package_marks": reportrows.package_marks,
        "port_marks": reportrows.port_marks,
        "port_text": reportrows.port_text,
        "repository_marks": reportrows.repository_marks,
        "unit_marks": reportrows.unit_marks,
        "user_marks": reportrows.user_marks,
    }
    return environment


def _printed(value: object) -> str:
    """A value as one line that prints; names are bytes, everything else is text."""
    text = shown(value) if isinstance(value, bytes) else clean(str(value))
    if len(text) <= TEXT_LIMIT:
        return text
    return f"{text[:TEXT_LIMIT]}… ({count_text(len(text) - TEXT_LIMIT, 'more character')})"


def _number(value: int) -> str:
    return f"{value:,}"


def _directory(path: bytes) -> bytes:
    """The path up to its last component."""
    return path[: path.rfind(b"/") + 1]


def _name(path: bytes) -> bytes:
    """The last component of a path."""
    return path[path.rfind(b"/") + 1 :]


def _safe_words(words: Iterable[str]) -> str:
    """Words of a repository, without what is secret in them."""
    return " ".join(reportrows.without_secrets(word) for word in words)


def _time(nanoseconds: int) -> str:
    """A time in UTC, to the second."""
    date, _, rest = rfc3339(nanoseconds).partition("T")
    return f"{date} {rest[:8]} UTC"
