"""Scope `services`: what runs here, what starts at boot, and who listens where."""

from __future__ import annotations

from dataclasses import dataclass

from snapstore.system.record import Field, Scope, Table, Type

UNIT_STATES = (
    "enabled", "disabled", "masked", "static", "indirect", "alias", "linked", "generated", "transient", "bad",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One systemd unit. `file` is where its definition is, `package` who owns that, `local` that no package does.

    `state` is as systemctl(1) says it of unit files. `running` is whether it is active now, which only a running
    system knows. `dropins` are the paths of its drop-in files, white space in them as %20 and the like. `runlevels`
    are those in which a script of System V or OpenRC starts, which has the state "generated".
    """

    name: str
    state: str
    running: bool = False
    file: bytes = b""
    package: str = ""
    local: bool = False
    dropins: tuple[str, ...] = ()
    runlevels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One listening socket: protocol (tcp, udp), address, port, and whose it is as far as that can be seen."""

    protocol: str
    address: str
    port: int
    unit: str = ""
    process: str = ""
    package: str = ""


SERVICES = Scope(
    "services",
    Table(
        "unit",
        Unit,
        (
            Field("name", key=True),
            Field("state", Type.WORD, key=True, choices=UNIT_STATES),
            Field("running", Type.FLAG),
            Field("file", Type.RAW),
            Field("package"),
            Field("local", Type.FLAG),
            Field("dropins", Type.WORDS),
            Field("runlevels", Type.WORDS),
        ),
    ),
    Table(
        "port",
        Port,
        (
            Field("protocol", Type.WORD, key=True, choices=("tcp", "udp")),
            Field("address", key=True),
            Field("port", Type.NUMBER, key=True),
            Field("unit", key=True),
            Field("process", key=True),
            Field("package"),
        ),
    ),
)
