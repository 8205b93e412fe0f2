"""What the scope `services` holds of a root: units with their states, scripts, and on a running system who listens."""

from __future__ import annotations

from dataclasses import replace

from snapstore.errors import HostError
from snapstore.system import host
from snapstore.system.capture.lines import Bounded, numbered_lines, text_of
from snapstore.system.capture.ports import capture_ports
from snapstore.system.capture.scripts import script_units
from snapstore.system.capture.systemd import Units
from snapstore.system.capture.unitfiles import SCRIPTS, is_unit_name
from snapstore.system.packages import Ownership, Warn
from snapstore.system.root import Root, RootError
from snapstore.system.scopes.services import SERVICES, Port, Unit

_RUNNING = b"/run/systemd/system"
_SYSTEMCTL = b"systemctl"
_SECONDS = 60.0
_OUTPUT_LIMIT = 16 << 20
# Instances that come and go with people and connections, and say nothing about how the machine is set up.
_PASSING = (b"user@", b"user-runtime-dir@")


def capture_services(root: Root, ownership: Ownership, warn: Warn) -> list[Unit | Port]:
    """The units of a root, in the order of the scope; of the live system also what runs and who listens.

    A script of System V is a unit of the state "generated" unless there is a unit of its name, which systemd prefers.
    """
    with Bounded(warn) as bounded:
        units = Units(root, ownership, bounded)
        rows = {name: units.unit(name) for name in units.names()}
        for row in script_units(root, ownership, bounded):
            name = row.name.encode("utf-8", "surrogateescape")
            if name not in rows or rows[name].file.startswith(SCRIPTS + b"/"):
                rows[name] = row
        ports: list[Port] = []
        if root.live:
            sockets: dict[str, str] = {}
            if is_running(root, bounded):
                for name in active_units(_ask(bounded, "list-units", "--all"), bounded):
                    if name not in rows and units.is_template_of(name) and not _is_passing(name):
                        rows[name] = units.unit(name)
                    if name in rows:
                        rows[name] = replace(rows[name], running=True)
                sockets = listening_units(_ask(bounded, "list-sockets", "--all"), bounded)
            ports = capture_ports(root, ownership, bounded, sockets=sockets)
    found: list[Unit | Port] = [*rows.values(), *ports]
    return sorted(found, key=SERVICES.order)


def is_running(root: Root, warn: Warn) -> bool:
    """Whether systemd runs the live system (sd_booted(3))."""
    try:
        return root.status(_RUNNING) is not None
    except RootError as error:
        warn(_RUNNING, f"it cannot be looked at: {error.strerror}")
        return False


def _ask(warn: Warn, *arguments: str) -> bytes:
    """What systemctl(1) lists; nothing, with a warning, if it does not answer."""
    program = host.find_program("systemctl")
    if not program:
        warn(_SYSTEMCTL, "it is not there, so that it is not known what runs")
        return b""
    try:
        ran = host.run(
            [program, *arguments, "--no-legend", "--no-pager", "--plain", "--full"],
            seconds=_SECONDS,
            limit=_OUTPUT_LIMIT,
        )
    except HostError as error:
        warn(_SYSTEMCTL, f"it is not known what runs: {error}")
        return b""
    if ran.code:
        reason = text_of(ran.err.strip().partition(b"\n")[0])
        warn(_SYSTEMCTL, f"it is not known what runs: {reason or f'exit code {ran.code}'!r}")
        return b""
    return ran.out


def active_units(listed: bytes, warn: Warn) -> set[bytes]:
    """The names of the active units in what `systemctl list-units` prints: name, load, active, sub, description."""
    found = set()
    for _, line in numbered_lines(_SYSTEMCTL, listed, warn):
        words = line.lstrip(b"\xe2\x97\x8f* \t").split(None, 4)
        if len(words) >= 4 and words[2] == b"active" and is_unit_name(words[0]):
            found.add(words[0])
    return found


def listening_units(listed: bytes, warn: Warn) -> dict[str, str]:
    """The units by address in what `systemctl list-sockets` prints: address, unit, what it starts."""
    found: dict[str, str] = {}
    for _, line in numbered_lines(_SYSTEMCTL, listed, warn):
        words = line.split()
        if len(words) >= 2 and is_unit_name(words[1]):
            address = text_of(words[0])
            found[address] = text_of(words[1])
            port = address.removeprefix("[::]:")
            if port != address:
                found.setdefault(f"0.0.0.0:{port}", text_of(words[1]))
    return found


def _is_passing(name: bytes) -> bool:
    instance = name.partition(b"@")[2]
    return name.startswith(_PASSING) or (b"-" in instance and instance.partition(b"-")[0].isdigit())
