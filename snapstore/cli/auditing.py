"""The command `audit`: what on this machine is not as its packages ship it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from snapstore.cli.parameters import Command, OutputPath, given
from snapstore.cli.run import Run, verb

if TYPE_CHECKING:
    from snapstore.fs.filters import FilterRules
    from snapstore.ops.audit import Audit
    from snapstore.ops.inspection import SystemOptions
    from snapstore.system.scopes.files import FileRow

CHANGES_FOUND = 1
"""The exit code of `--fail-on-change` where there are any."""
INCOMPLETE = 3


def system_options(
    root: bytes, *, skip_packaged: bool = True, enter_mounts: bool = False, rules: FilterRules | None = None,
    references: tuple[bytes, ...] = (), cache: bytes | None = None,
) -> SystemOptions:  # fmt: skip
    """What the options of `audit` and `snapshot --system` ask for."""
    from snapstore.fs.filters import FilterRules
    from snapstore.ops.inspection import SystemOptions, managers

    return SystemOptions(
        root=root,
        skip_packaged=skip_packaged,
        enter_mounts=enter_mounts,
        filters=rules or FilterRules(),
        managers=managers(references, cache=cache),
    )


@click.command(
    cls=Command,
    short_help="List what is not as its packages ship it.",
    epilog="""\b
Examples:
  snapstore audit
  snapstore audit --root /mnt/image --html report.html
  snapstore audit --json | jq 'select(.class == "changed")'
  snapstore audit --fail-on-change --class changed --class missing

\b
Exit codes: 0 done; 1 failed, or --fail-on-change found something; 3 done, but some files could not be verified.""",
)
@click.option(
    "--root", metavar="DIR", type=click.Path(path_type=bytes, readable=False), default=b"/", callback=given,
    help="The system that lies there.  [default: /]",
)  # fmt: skip
@click.option(
    "--class", "classes", multiple=True, metavar="CLASS",
    type=click.Choice(["changed", "missing", "unmanaged", "generated", "excluded"]),
    help="List only changed, missing, unmanaged, generated or excluded paths.  [repeatable; default: the first three]",
)  # fmt: skip
@click.option("--exclude", metavar="PATTERN", multiple=True, help="Leave out what matches.  [repeatable]")
@click.option(
    "--reference", "references", metavar="DIR", multiple=True,
    type=click.Path(path_type=bytes, file_okay=False, exists=True), callback=given,
    help="Take modes, owners and links from the .deb files in a directory.  [repeatable]",
)  # fmt: skip
@click.option(
    "--fetch-reference", metavar="DIR", type=click.Path(path_type=bytes, file_okay=False, exists=True), callback=given,
    help="Where something is in doubt, have apt download the packages into a directory, and look again.",
)  # fmt: skip
@click.option("--all-file-systems", is_flag=True, help="Look into other file systems that are mounted below, too.")
@click.option("--xml", "as_xml", is_flag=True, help="Print one XML document with all that was found.")
@click.option("--html", metavar="FILE", type=OutputPath(), callback=given, help="Write a report to read in a browser.")
@click.option("--fail-on-change", is_flag=True, help="Exit with 1 if there is anything of the classes listed.")
@verb
def audit(
    run: Run,
    /,
    *,
    root: bytes,
    classes: tuple[str, ...],
    exclude: tuple[str, ...],
    references: tuple[bytes, ...],
    fetch_reference: bytes | None,
    all_file_systems: bool,
    as_xml: bool,
    html: bytes | None,
    fail_on_change: bool,
) -> int:
    """List every path that is not exactly as its package ships it, and account for all others.

    Each path on disk is in one class: pristine (owned by a package, and as packaged), changed (in what, is said),
    generated (made at run time, by a rule), unmanaged (nobody's), excluded (by a rule); owned paths that are not there
    are missing. The totals at the end add up to what is on disk. Packages are read from the databases of dpkg, rpm,
    pacman and apk in DIR; contents are compared by their digests, on all cores the first time, and not read again while
    nothing has changed. A tree that is nobody's is one line.
    """
    from snapstore.cli.auditlines import AuditSummary, ClassLine, FileLine, RuleLine, on_disk
    from snapstore.fs.filters import FilterRules
    from snapstore.ops.audit import audit_system, packages_in_doubt

    if as_xml and run.output.json:
        raise click.UsageError("Give either --xml or --json.")
    if html is not None:
        _check_html(run, html)
    listed = classes or ("changed", "missing", "unmanaged")
    local = run.local()
    fetched = () if fetch_reference is None else (fetch_reference,)

    def look() -> Audit:
        system = system_options(
            root, enter_mounts=all_file_systems, rules=FilterRules(excludes=exclude),
            references=(*references, *fetched), cache=local.cache,
        )  # fmt: skip
        return audit_system(
            system, cache=local.cache, own=run.own_places(), progress=run.progress, cancellation=run.cancellation
        )

    result = look()
    if fetch_reference is not None:
        from snapstore.system.managers.debreference import fetch_reference as fetch

        doubtful = packages_in_doubt(result)
        run.output.notice(f"{len(doubtful)} packages are in doubt")
        if doubtful and len(fetch(doubtful, os.path.abspath(fetch_reference), run.progress.warn)) < len(doubtful):
            result = look()
    run.close_progress()
    if not any(policy.value for policy in result.policies if policy.name == "managers"):
        run.output.notice("no package database was found there, so that nothing is known to belong to a package")
    found = [row for row in result.files if row.cls in listed]
    if html is not None:
        _write_html(run, result, html)
    if as_xml:
        _write_xml(run, result)
    elif run.settings.json:
        for row in found:
            run.output.emit(FileLine(row))
        for rule in result.rules:
            run.output.emit(RuleLine(rule))
        for total in result.totals:
            run.output.emit(ClassLine(total))
    else:
        _list(run, found)
        if run.settings.verbose and result.rules:
            run.output.table([RuleLine(rule) for rule in result.rules])
            run.output.heading("")
        if not run.settings.quiet:
            run.output.table([ClassLine(total) for total in (*result.totals, on_disk(result.totals))])
    if not as_xml:
        run.output.summarise(AuditSummary(result))
    if fail_on_change and found:
        return CHANGES_FOUND
    return INCOMPLETE if result.warning_count else 0


def _list(run: Run, rows: list[FileRow], /) -> None:
    """The paths by class, and those of packages by package."""
    from snapstore.cli.auditlines import FileLine
    from snapstore.cli.names import clean

    for cls in dict.fromkeys(row.cls for row in sorted(rows, key=lambda row: _PLACE[str(row.cls)])):
        run.output.heading(str(cls))
        chosen = sorted((row for row in rows if row.cls == cls), key=lambda row: row.package)
        last = ""
        for row in chosen:
            if row.package != last:
                last = row.package
                run.output.heading(f"  {clean(last)}")
            run.output.emit_indented(FileLine(row), "    " if last else "  ")
        run.output.heading("")


_PLACE = {"changed": 0, "missing": 1, "unmanaged": 2, "generated": 3, "excluded": 4}


def _check_html(run: Run, path: bytes, /) -> None:
    """Nothing; an error where no report could be written: better before a long look than after it."""
    from snapstore.ops.destination import check_destination
    from snapstore.ops.places import refuse_inside

    if path == b"-":
        raise click.UsageError("--html needs the name of a file: standard output has the list.")
    refuse_inside(path, run.own_places())
    check_destination(path)


def _write_html(run: Run, result: Audit, path: bytes, /) -> None:
    from snapstore.cli.htmlreport import report_bytes
    from snapstore.ops.destination import Destination

    page = report_bytes(result)
    with Destination(path) as destination:
        destination.write(page)
    run.output.notice(f"wrote the report to {os.fsdecode(path)}")


def _write_xml(run: Run, result: Audit, /) -> None:
    """One document: every scope's record inside of one element, secrets left out."""
    from snapstore.format.scope import namespace
    from snapstore.format.xml import DECLARATION
    from snapstore.system.redaction import hide
    from snapstore.system.schema import SCOPES

    run.output.raw(DECLARATION + b'<audit xmlns="urn:snapstore:audit:1">\n')
    for scope in SCOPES:
        run.output.raw(b'<%b xmlns="%b">\n' % (scope.name.encode(), namespace(scope.name).encode()))
        for row in result.scopes.get(scope.name, ()):
            run.output.raw(scope.element(hide(row, scope)))
        run.output.raw(b"</%b>\n" % scope.name.encode())
    run.output.raw(b"</audit>\n")
