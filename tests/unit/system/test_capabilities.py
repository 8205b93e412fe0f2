from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from snapstore.system.capabilities import decode_capabilities, normal_capabilities


def value(permitted: int, inheritable: int = 0, *, effective: bool = True, revision: int = 2) -> bytes:
    magic = revision << 24 | effective
    low, high = permitted & 0xFFFFFFFF, permitted >> 32
    return struct.pack("<IIIII", magic, low, inheritable & 0xFFFFFFFF, high, inheritable >> 32)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (value(1 << 13), "cap_net_raw=ep"),
        (value(1 << 13, effective=False), "cap_net_raw=p"),
        (value(1 << 12 | 1 << 13), "cap_net_admin,cap_net_raw=ep"),
        (value(1 << 13, 1 << 12), "cap_net_admin=ei cap_net_raw=ep"),
        (value(1 << 38), "cap_perfmon=ep"),
        (value(1 << 60), "60=ep"),
        (value(0), ""),
        (struct.pack("<III", 1 << 24 | 1, 1, 0), "cap_chown=ep"),
        (value(1, revision=3) + struct.pack("<I", 100_000), "cap_chown=ep [rootid=100000]"),
        (b"", "?"),
        (b"\x01", "?01"),
        (value(1, revision=9), "?" + value(1, revision=9).hex()),
    ],
)
def test_attributes_as_text(raw: bytes, text: str) -> None:
    assert decode_capabilities(raw) == text


@pytest.mark.parametrize(
    ("stated", "text"),
    [
        ("= cap_net_raw+ep", "cap_net_raw=ep"),
        ("cap_net_raw=ep", "cap_net_raw=ep"),
        ("cap_net_raw,cap_net_admin+pe", "cap_net_admin,cap_net_raw=ep"),
        ("cap_net_raw=p cap_net_admin=p", "cap_net_admin,cap_net_raw=p"),
        ("", ""),
        ("=", ""),
        ("no such thing", "no such thing"),
        ("cap_unheard_of=ep", "cap_unheard_of=ep"),
    ],
)
def test_statements_in_one_form(stated: str, text: str) -> None:
    assert normal_capabilities(stated) == text
    assert normal_capabilities(normal_capabilities(stated)) == text


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setcap") is None, reason="needs root and setcap(8)")
@pytest.mark.parametrize("text", ["cap_net_raw=ep", "cap_net_admin,cap_net_raw=p", "cap_sys_ptrace,cap_bpf=eip"])
def test_getcap_agrees(tmp_path: Path, text: str) -> None:
    place = tmp_path / "file"
    place.write_bytes(b"")
    subprocess.run(["setcap", text, place], check=True)
    told = subprocess.run(["getcap", place], check=True, capture_output=True, text=True).stdout
    decoded = decode_capabilities(os.getxattr(place, "security.capability"))
    assert decoded == told.split(" ", 1)[1].strip() == normal_capabilities(text)
