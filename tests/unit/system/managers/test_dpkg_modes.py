"""The table of modes that dpkg does not keep: well formed, and chosen by version."""

from __future__ import annotations

import pytest

from snapstore.system.managers.dpkgmodes import exceptions_of, table


def test_every_fact_is_one() -> None:
    rows = [(package, path, row) for package, paths in table().items() for path, rows in paths.items() for row in rows]
    assert len(rows) > 90
    for package, path, row in rows:
        assert path.startswith(b"/"), package
        assert not path.endswith(b"/")
        assert 0 < row.mode <= 0o7777
        assert row.user
        assert row.group
        usual = row.mode in (0o644, 0o755) and (row.user, row.group) == ("root", "root")
        assert not usual or row.capabilities, f"{package}: {path!r} is as usual"
    for paths in table().values():
        for rows_of_path in paths.values():
            globs = [row.versions for row in rows_of_path]
            assert len(globs) == 1 or (len(set(globs)) == len(globs) and "*" not in globs)


@pytest.mark.parametrize(
    ("package", "version", "path", "expected"),
    [
        ("util-linux", "2.38.1-5", b"/bin/su", (0o4755, "root", "root")),
        ("util-linux", "2.41-5", b"/usr/bin/su", (0o4755, "root", "root")),
        ("passwd", "1:4.13", b"/usr/bin/chage", (0o2755, "root", "shadow")),
        ("base-files", "12.4+deb12u11", b"/var/local", (0o2775, "root", "staff")),
        ("base-files", "13.8", b"/var/local", None),
        ("polkitd", "122-3", b"/etc/polkit-1/rules.d", (0o700, "polkitd", "root")),
        ("polkitd", "126-2", b"/etc/polkit-1/rules.d", (0o750, "root", "polkitd")),
        ("nothing-known", "1", b"/bin/su", None),
    ],
)
def test_facts(package: str, version: str, path: bytes, expected: tuple[int, str, str] | None) -> None:
    row = exceptions_of(package, version).get(path)
    assert (row and (row.mode, row.user, row.group)) == expected


def test_a_capability() -> None:
    assert exceptions_of("iputils-ping", "3:20221126-1")[b"/bin/ping"].capabilities == "cap_net_raw=ep"
    assert exceptions_of("sudo", "1.9")[b"/usr/bin/sudo"].capabilities is None
