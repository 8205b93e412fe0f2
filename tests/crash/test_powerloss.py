from __future__ import annotations

import pytest

from tests.crash.powerloss import Objects, PowerLossBackend


def states(backend: PowerLossBackend, *, limit: int = 4096) -> list[Objects]:
    return list(backend.crash_states(limit=limit))


def names(backend: PowerLossBackend) -> set[frozenset[str]]:
    return {frozenset(state) for state in states(backend)}


def test_nothing_pending_is_one_state() -> None:
    assert states(PowerLossBackend({"config": b"content"})) == [{"config": b"content"}]


def test_names_reach_the_disk_in_any_combination() -> None:
    backend = PowerLossBackend({"config": b"content"})
    backend.put("packs/a", [b"a"])
    with backend.stage() as staged:
        staged.write(b"b")
        staged.publish("packs/b")
    backend.put("refs/c", [b"c"])
    found = names(backend)
    assert len(found) == 8
    assert frozenset({"config"}) in found
    assert frozenset({"config", "refs/c"}) in found
    assert frozenset({"config", "packs/a", "packs/b", "refs/c"}) in found


def test_content_is_whole_wherever_the_name_is() -> None:
    backend = PowerLossBackend()
    backend.put("a", [b"content"])
    assert states(backend) == [{}, {"a": b"content"}]


def test_a_backend_that_does_not_sync_content_may_lose_it() -> None:
    backend = PowerLossBackend(syncs_content=False)
    backend.put("a", [b"content"])
    backend.barrier()
    assert sorted(states(backend), key=str) == [{"a": b""}, {"a": b"con"}, {"a": b"content"}]


@pytest.mark.parametrize(
    ("touched", "certain"),
    [
        (None, {"packs/00/a", "packs/01/b", "refs/c", "d"}),
        ([""], {"packs/00/a", "packs/01/b", "refs/c", "d"}),
        (["packs/"], {"packs/00/a", "packs/01/b"}),
        (["packs/00/x"], {"packs/00/a"}),
        (["d"], {"d"}),
        ([], set()),
    ],
)
def test_a_barrier_makes_certain_what_it_covers(touched: list[str] | None, certain: set[str]) -> None:
    backend = PowerLossBackend()
    for name in ("packs/00/a", "packs/01/b", "refs/c", "d"):
        backend.put(name, [b"content"])
    backend.barrier(touched)
    found = names(backend)
    assert frozenset.intersection(*found) == certain
    assert len(found) == 2 ** (4 - len(certain))


def test_a_deletion_is_pending_too() -> None:
    backend = PowerLossBackend({"a": b"old", "b": b"kept"})
    backend.delete("a")
    assert not backend.exists("a")
    assert states(backend) == [{"a": b"old", "b": b"kept"}, {"b": b"kept"}]
    backend.put("a", [b"new"])
    assert {state.get("a") for state in states(backend)} == {b"old", None, b"new"}
    backend.barrier()
    assert states(backend) == [{"a": b"new", "b": b"kept"}]


def test_putting_the_same_again_changes_nothing() -> None:
    backend = PowerLossBackend()
    assert backend.put("a", [b""]) is True
    assert backend.put("a", [b""]) is False
    assert len(states(backend)) == 2


def test_many_pending_names_are_sampled_with_both_extremes() -> None:
    backend = PowerLossBackend()
    for number in range(40):
        backend.put(f"packs/{number}", [b"x"])
    found = states(backend, limit=200)
    assert found[0] == {}
    assert len(found[1]) == 40
    assert 150 < len(found) <= 200
    assert found == states(backend, limit=200)
    assert found != list(backend.crash_states(limit=200, seed=1))


def test_a_crashed_disk_is_a_backend_of_its_own() -> None:
    backend = PowerLossBackend()
    backend.put("a", [b"content"])
    lost, kept = backend.crashed()
    assert not lost.exists("a")
    assert kept.get("a") == b"content"
    kept.delete("a")
    lost.put("a", [b"other"])
    assert backend.get("a") == b"content"


def test_every_step_can_be_looked_at() -> None:
    seen: list[int] = []
    backend = PowerLossBackend(before_step=lambda backend: seen.append(len(states(backend))))
    backend.put("a", [b"1"])
    backend.put("b", [b"2"])
    backend.barrier()
    backend.delete("a")
    backend.barrier()
    assert seen == [1, 2, 4, 1, 2]
