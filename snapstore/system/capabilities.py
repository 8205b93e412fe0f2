"""File capabilities as text: what is in `security.capability`, and what package databases say of it, in one form.

The form is getcap(8)'s: `cap_net_admin,cap_net_raw=ep`, groups of equal flags joined by blanks, names in the order of
<linux/capability.h>, groups in that of their first name.
"""

from __future__ import annotations

import re
import struct

_WORDS_OF_NAMES = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service"
    " net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin"
    " sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override"
    " mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore"
)
_NAMES = tuple(_WORDS_OF_NAMES.split(" "))
_NUMBERS = {f"cap_{name}": number for number, name in enumerate(_NAMES)}
_REVISION_MASK = 0xFF000000
_EFFECTIVE = 0x000001
_WORDS = {0x01000000: 1, 0x02000000: 2, 0x03000000: 2}
_ROOTID = 0x03000000
_CLAUSE = re.compile(r"([a-z_,0-9]*)([=+])([eip]*)\Z").match


def decode_capabilities(value: bytes) -> str:
    """The text of a `security.capability` attribute (capabilities(7)); `?` and hex for what is none."""
    try:
        (magic,) = struct.unpack_from("<I", value, 0)
        revision = magic & _REVISION_MASK
        words = [struct.unpack_from("<II", value, 4 + 8 * number) for number in range(_WORDS[revision])]
    except (struct.error, KeyError):
        return f"?{value[:64].hex()}"
    permitted = sum(word[0] << (32 * number) for number, word in enumerate(words))
    inheritable = sum(word[1] << (32 * number) for number, word in enumerate(words))
    text = _text(permitted, inheritable, effective=bool(magic & _EFFECTIVE))
    if revision == _ROOTID and len(value) >= 4 + 8 * 2 + 4:
        (root,) = struct.unpack_from("<I", value, 20)
        text += f" [rootid={root}]" if root else ""
    return text


def normal_capabilities(text: str) -> str:
    """The one form of what a database states (`= cap_net_raw+ep`, `cap_net_raw=ep`); unchanged if it is neither."""
    if not text:
        return ""  # as of nearly every file
    permitted = inheritable = 0
    effective = False
    for clause in text.split():
        match = _CLAUSE(clause)
        if match is None:
            return text
        names, _, flags = match.groups()
        numbers = [_NUMBERS.get(name, -1) for name in names.split(",")] if names else []
        if -1 in numbers:
            return text
        mask = sum(1 << number for number in set(numbers))
        permitted |= mask if "p" in flags else 0
        inheritable |= mask if "i" in flags else 0
        effective = effective or ("e" in flags and bool(mask))
    return _text(permitted, inheritable, effective=effective)


def _text(permitted: int, inheritable: int, *, effective: bool) -> str:
    groups: dict[str, list[str]] = {}
    for number in range(64):
        bit = 1 << number
        flags = ("i" if inheritable & bit else "") + ("p" if permitted & bit else "")
        if flags:
            name = f"cap_{_NAMES[number]}" if number < len(_NAMES) else str(number)
            groups.setdefault(("e" if effective else "") + flags, []).append(name)
    return " ".join(f"{','.join(names)}={flags}" for flags, names in groups.items())
