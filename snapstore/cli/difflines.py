"""What `diff` tells of systems, in both forms: things of the scopes, and files with the lines that changed in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from snapstore.cli.messages import ChangeLine
from snapstore.cli.names import clean, shown
from snapstore.cli.rowlines import HIDDEN, RowLine

if TYPE_CHECKING:
    from snapstore.ops.filediff import FileChange
    from snapstore.ops.systemdiff import ScopeChange

_SIGNS = {"added": "+", "removed": "-", "changed": "~", "up": "^", "down": "v"}
_LABELS = {
    "setting": ("name",),
    "package": ("name", "arch"),
    "diversion": ("path",),
    "override": ("path",),
    "alternative": ("name",),
    "lock": ("package", "rule"),
    "repo": ("name", "kind", "uris", "suites"),
    "key": ("fingerprint", "owner"),
    "user": ("name",),
    "group": ("name",),
    "subid": ("kind", "owner", "start"),
    "sudo": ("rule",),
    "unit": ("name",),
    "port": ("protocol", "address", "port"),
}


@dataclass(frozen=True, slots=True)
class ScopeChangeLine:
    """One thing of a scope that is not the same."""

    message_type: ClassVar[str] = "scope_change"

    change: ScopeChange

    def fields(self) -> dict[str, object]:
        """See docs/cli.md. Secrets are hidden."""
        change = self.change
        return {
            "scope": change.scope.name,
            "kind": change.tag,
            "change": str(change.kind),
            "fields": [name.replace("_", "-") for name in change.fields],
            "before": None if change.before is None else RowLine(change.scope, change.before).fields(),
            "after": None if change.after is None else RowLine(change.scope, change.after).fields(),
        }

    def text(self, *, verbose: bool) -> str:
        """A sign, what it is, and what was and is."""
        change = self.change
        row = change.after if change.after is not None else change.before
        label = " ".join(filter(None, (_value(row, name) for name in _LABELS[change.tag]))) or _value(row, "file")
        told = []
        if change.fields:
            secret = {field.attribute for field in change.scope.table_of(row).fields if field.secret}
            for name in change.fields:
                if name in secret:
                    told.append(f"{name} {HIDDEN}")
                    continue
                sides = (_value(change.before, name) or "none", _value(change.after, name) or "none")
                what = "" if name == "version" else f"{name.replace('_', '-')} "
                told.append(f"{what}{sides[0]} -> {sides[1]}")
        elif change.tag in ("package", "setting"):
            told.append(_value(row, "version" if change.tag == "package" else "value"))
        elif verbose and change.tag == "unit":
            told.append(_value(row, "state"))
        return f"{_SIGNS[change.kind]} {change.tag} {label}  {', '.join(told)}".rstrip()


def _value(row: Any, name: str) -> str:
    value = getattr(row, name)
    if isinstance(value, tuple):
        return clean(" ".join(value))
    if isinstance(value, bytes):
        return shown(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return ""
    return f"{value:04o}" if name == "mode" else clean(str(value))


@dataclass(frozen=True, slots=True)
class FileChangeLine:
    """One file of a system that is not the same. `hunks` are the lines that changed, where they can be shown."""

    message_type: ClassVar[str] = "change"

    change: FileChange
    hunks: tuple[str, ...] = ()

    def fields(self) -> dict[str, object]:
        """See docs/cli.md."""
        change = self.change
        found = ChangeLine(change.change).fields()
        for name, row in (("class_before", change.before), ("class_after", change.after)):
            if row is not None:
                found[name] = str(row.cls)
        row = change.after or change.before
        if row is not None and row.package:
            found["packages"] = row.package.split()
        for name in ("pristine", "missing", "excluded"):
            if getattr(change, name):
                found[name] = getattr(change, name)
        if self.hunks:
            found["hunks"] = list(self.hunks)
        return found

    def text(self, *, verbose: bool) -> str:
        """The line of any change, whose file it is, and the lines that changed."""
        change = self.change
        told = []
        row = change.after or change.before
        if row is not None and row.package:
            told.append(clean(row.package))
        if change.pristine == "before":
            told.append("was as packaged")
        elif change.pristine == "after":
            told.append("is as packaged")
        if change.missing:
            told.append("deleted" if change.missing == "after" else "is there again")
        if change.excluded:
            told.append("is left out now" if change.excluded == "after" else "was left out")
        line = ChangeLine(change.change).text(verbose=verbose)
        lines = [line + (f"  [{', '.join(told)}]" if told else "")]
        lines += [f"   {clean(each)}" for each in self.hunks]
        return "\n".join(lines)
