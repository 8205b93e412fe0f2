"""What every backend promises, whatever keeps its bytes."""

from __future__ import annotations

import contextlib
import gc
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snapstore.backends import DeleteBackend, Listed, is_name
from snapstore.errors import CorruptObjectError, MissingObjectError, ObjectExistsError, StoreError
from tests.contract.conftest import PREFIXES, Make, Place, both_ways, stage_and_publish

NAME = "packs/00/aa"
RACERS = 16


def names(backend: DeleteBackend, prefix: str = "") -> set[str]:
    return {listed.name for listed in backend.list(prefix)}


@both_ways
@pytest.mark.parametrize("name", ["config", "keys/0", "packs/00/aa", "a/b/c/d", "x" * 200])
def test_what_was_put_comes_back(backend: DeleteBackend, make: Make, name: str) -> None:
    assert make(backend, name, b"content") is True
    assert backend.get(name) == b"content"
    assert backend.size(name) == 7
    assert backend.exists(name) is True


def test_parts_are_joined_in_order(backend: DeleteBackend) -> None:
    assert backend.put(NAME, [b"one", bytearray(b"two"), memoryview(b"-three-")[1:-1], b""])
    assert backend.get(NAME) == b"onetwothree"


@both_ways
def test_an_empty_object_is_an_object(backend: DeleteBackend, make: Make) -> None:
    assert make(backend, NAME, b"")
    assert backend.get(NAME) == b""
    assert backend.get(NAME, offset=0, length=0) == b""
    assert backend.size(NAME) == 0
    assert backend.exists(NAME)
    assert len(backend.view(NAME)) == 0
    assert list(backend.list("packs/")) == [Listed(NAME, 0)]


def test_a_large_object_in_many_parts(backend: DeleteBackend) -> None:
    rng = random.Random(1)
    data = rng.randbytes(8 << 20)
    cuts = sorted(rng.sample(range(len(data)), 999))
    parts = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert backend.put(NAME, parts)
    with backend.stage() as staged:
        for part in parts:
            staged.write(part)
        assert staged.size == len(data)
        assert staged.publish("packs/01/bb")
    for name in (NAME, "packs/01/bb"):
        assert backend.get(name) == data
        assert backend.view(name) == data
        assert backend.get(name, offset=cuts[5], length=3 << 20) == data[cuts[5] :][: 3 << 20]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_every_range_inside_the_object(backend: DeleteBackend, data: st.DataObject) -> None:
    content = bytes(range(100))
    backend.put(NAME, [content])
    offset = data.draw(st.integers(0, 100))
    length = data.draw(st.none() | st.integers(0, 100 - offset))
    expected = content[offset:] if length is None else content[offset : offset + length]
    assert backend.get(NAME, offset=offset, length=length) == expected


@pytest.mark.parametrize(("offset", "length"), [(0, 8), (7, 1), (8, 0), (8, None), (3, 5), (1 << 40, 1), (0, 1 << 40)])
def test_a_range_past_the_end_is_damage(backend: DeleteBackend, offset: int, length: int | None) -> None:
    backend.put(NAME, [b"content"])
    with pytest.raises(CorruptObjectError, match=NAME):
        backend.get(NAME, offset=offset, length=length)


@pytest.mark.parametrize(("offset", "length"), [(-1, None), (0, -1)])
def test_a_range_that_is_none_is_a_mistake(backend: DeleteBackend, offset: int, length: int) -> None:
    backend.put(NAME, [b"content"])
    with pytest.raises(ValueError, match="no range"):
        backend.get(NAME, offset=offset, length=length)


def test_a_view_is_read_only_and_outlives_the_object(backend: DeleteBackend) -> None:
    backend.put(NAME, [b"content"])
    view = backend.view(NAME)
    part = view[3:]
    assert view.readonly
    assert bytes(view) == b"content"
    backend.delete(NAME)
    del view
    gc.collect()
    assert bytes(part) == b"tent"


@pytest.mark.parametrize("name", ["packs/00/zz", "nowhere/zz", "config", "packs", "packs/00"])
def test_what_is_not_there_is_missing(backend: DeleteBackend, name: str) -> None:
    backend.put(NAME, [b"content"])
    assert backend.exists(name) is False
    for ask in (backend.get, backend.view, backend.size, backend.delete):
        with pytest.raises(MissingObjectError) as caught:
            ask(name)
        assert caught.value.name == name


@both_ways
def test_the_same_bytes_again_are_fine_and_said(backend: DeleteBackend, make: Make) -> None:
    assert make(backend, NAME, b"content") is True
    assert make(backend, NAME, b"content") is False
    assert backend.get(NAME) == b"content"


@both_ways
@pytest.mark.parametrize("other", [b"", b"c", b"contenT", b"content and more"])
def test_a_taken_name_stays_as_it_is(backend: DeleteBackend, make: Make, other: bytes) -> None:
    make(backend, NAME, b"content")
    with pytest.raises(ObjectExistsError) as caught:
        make(backend, NAME, other)
    assert caught.value.name == NAME
    assert backend.get(NAME) == b"content"
    assert names(backend) == {NAME}


@both_ways
def test_a_prefix_is_not_an_object_and_cannot_become_one(backend: DeleteBackend, make: Make) -> None:
    with pytest.raises(ObjectExistsError):
        make(backend, "packs/00", b"content")
    make(backend, "index/a", b"content")
    with pytest.raises(StoreError):
        make(backend, "index/a/b", b"content")
    assert names(backend) == {"index/a"}


@both_ways
def test_of_many_writers_one_wins(place: Place, make: Make) -> None:
    place.open().prepare(PREFIXES)
    backends = [place.open() for _ in range(RACERS)]
    with ThreadPoolExecutor(RACERS) as pool:
        for round_ in range(20):
            name = f"refs/{round_:02}"
            start = Barrier(RACERS)

            def race(racer: int, name: str = name, start: Barrier = start) -> bool | None:
                start.wait()
                try:
                    return make(backends[racer], name, b"%02d" % racer * 1000)
                except ObjectExistsError:
                    return None

            outcomes = list(pool.map(race, range(RACERS)))
            assert sorted(outcomes, key=str) == [None] * (RACERS - 1) + [True]
            assert backends[0].get(name) == b"%02d" % outcomes.index(True) * 1000


@both_ways
def test_of_many_writers_of_the_same_bytes_one_made_them(place: Place, make: Make) -> None:
    place.open().prepare(PREFIXES)
    backends = [place.open() for _ in range(RACERS)]
    start = Barrier(RACERS)

    def race(racer: int) -> bool:
        start.wait()
        return make(backends[racer], NAME, b"content" * 1000)

    with ThreadPoolExecutor(RACERS) as pool:
        assert sum(pool.map(race, range(RACERS))) == 1


def test_one_backend_serves_many_threads(backend: DeleteBackend) -> None:
    def work(worker: int) -> None:
        for turn in range(20):
            name = f"packs/{turn % 2:02}/{worker}-{turn}"
            data = b"%d %d" % (worker, turn) * 100
            assert stage_and_publish(backend, name, data)
            assert backend.get(name) == data
            if turn % 5 == 0:
                backend.barrier()
                backend.delete(name)

    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(work, range(8)):
            pass
    backend.barrier()
    assert len(names(backend, "packs/")) == 8 * 16


def test_nothing_is_seen_before_it_is_published(backend: DeleteBackend) -> None:
    with backend.stage() as staged:
        staged.write(b"content")
        assert names(backend) == set()
    assert names(backend) == set()
    assert not backend.exists(NAME)


def test_a_dropped_stage_leaves_nothing(place: Place) -> None:
    backend = place.open()
    backend.prepare(PREFIXES)
    staged = backend.stage()
    staged.write(b"content")
    staged.discard()
    staged.discard()
    with contextlib.suppress(ZeroDivisionError), backend.stage() as failing:
        failing.write(b"content")
        raise ZeroDivisionError
    assert names(backend) == set()
    assert names(place.open()) == set()


@pytest.mark.parametrize("end", ["publish", "discard", "bad name"])
def test_a_stage_ends_once(backend: DeleteBackend, end: str) -> None:
    staged = backend.stage()
    staged.write(b"content")
    if end == "publish":
        staged.publish(NAME)
    elif end == "discard":
        staged.discard()
    else:
        with pytest.raises(StoreError, match="not an object name"):
            staged.publish("../x")
        staged.discard()
    with pytest.raises(StoreError, match="published or discarded"):
        staged.write(b"more")
    with pytest.raises(StoreError, match="published or discarded"):
        staged.publish("packs/00/bb")
    assert names(backend) == ({NAME} if end == "publish" else set())


def test_listing_is_complete_and_by_prefix(backend: DeleteBackend) -> None:
    everything = {
        "config": 1,
        "packs/00/aa": 2,
        "packs/01/bb": 3,
        "packs/01/cc": 0,
        "packs-old/x": 4,
        "refs/a.final": 5,
        "deep/er/and/deepest": 6,
    }
    for name, size in everything.items():
        backend.put(name, [b"x" * size])
    for prefix in ("", "packs/", "packs/01/", "refs/", "deep/", "deep/er/and/", "index/", "nowhere/"):
        found = list(backend.list(prefix))
        expected = {Listed(name, size) for name, size in everything.items() if name.startswith(prefix)}
        assert set(found) == expected
        assert len(found) == len(expected)


def test_objects_may_go_while_they_are_listed(backend: DeleteBackend) -> None:
    for number in range(50):
        backend.put(f"packs/{number % 2:02}/{number}", [b"x"])
    for listed in backend.list("packs/"):
        backend.delete(listed.name)
    assert names(backend) == set()


def test_a_deleted_object_is_gone_and_its_name_free(backend: DeleteBackend) -> None:
    backend.put(NAME, [b"content"])
    backend.put("packs/00/bb", [b"other"])
    backend.delete(NAME)
    assert not backend.exists(NAME)
    assert names(backend) == {"packs/00/bb"}
    with pytest.raises(MissingObjectError):
        backend.delete(NAME)
    assert backend.put(NAME, [b"new content"]) is True
    assert backend.get(NAME) == b"new content"


def test_backends_of_one_place_see_each_other(place: Place) -> None:
    first, second = place.open(), place.open()
    first.prepare(PREFIXES)
    first.put(NAME, [b"content"])
    assert second.get(NAME) == b"content"
    assert second.put(NAME, [b"content"]) is False
    second.delete(NAME)
    assert not first.exists(NAME)
    assert names(first) == set()


def test_preparing_again_changes_nothing(place: Place) -> None:
    backend = place.open()
    for _ in range(2):
        backend.prepare(PREFIXES)
        backend.put(NAME, [b"content"])
    place.open().prepare([*PREFIXES, "a/b/c/", ""])
    assert names(backend) == {NAME}


def test_putting_where_nothing_was_prepared(backend: DeleteBackend) -> None:
    assert backend.put("other/shard/x", [b"content"])
    backend.barrier(["other/shard/x"])
    assert backend.get("other/shard/x") == b"content"


def test_barriers_of_all_some_and_nothing(backend: DeleteBackend) -> None:
    backend.barrier()
    backend.put("config", [b"1"])
    backend.put(NAME, [b"2"])
    for touched in (["config"], ["packs/"], [""], ["packs/00/", NAME], [], ["nowhere/"], None):
        backend.barrier(touched)
    assert names(backend) == {"config", NAME}


BAD_NAMES = [
    "",
    "/",
    ".",
    "..",
    "a/",
    "/a",
    "a//b",
    "a/../b",
    ".a",
    "a/.b",
    "A",
    "a b",
    "a\n",
    "a\0",
    "ä",
    "a\\b",
    "a:b",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=st.text(max_size=12) | st.from_regex(r"[a-z./A-Z_-]{0,220}", fullmatch=True) | st.sampled_from(BAD_NAMES))
def test_bad_names_are_refused_everywhere(backend: DeleteBackend, name: str) -> None:
    if is_name(name):
        return
    asks: list[Callable[[], object]] = [
        lambda: backend.get(name),
        lambda: backend.view(name),
        lambda: backend.size(name),
        lambda: backend.exists(name),
        lambda: backend.put(name, [b"content"]),
        lambda: backend.delete(name),
        lambda: stage_and_publish(backend, name, b"content"),
    ]
    for ask in asks:
        with pytest.raises(StoreError, match="not an object name"):
            ask()
    assert names(backend) == set()


@pytest.mark.parametrize("prefix", ["packs", "/", "../", "packs//", "a/b/c/d/", "A/", ".a/"])
def test_bad_prefixes_are_refused_everywhere(backend: DeleteBackend, prefix: str) -> None:
    with pytest.raises(StoreError, match="not an object prefix"):
        backend.list(prefix)
    with pytest.raises(StoreError, match="not an object prefix"):
        backend.prepare([prefix])
    if prefix.endswith("/"):
        with pytest.raises(StoreError, match="not an object prefix"):
            backend.barrier([prefix])


def test_emptiness(place: Place) -> None:
    backend = place.open()
    backend.prepare(["packs/00/", "refs/"])
    besides = ["packs/00/", "refs/", "index/"]
    assert backend.is_empty(besides=besides)
    backend.put("refs/aa", [b""])
    assert not backend.is_empty(besides=besides)
    backend.delete("refs/aa")
    assert backend.is_empty(besides=besides)
    with pytest.raises(StoreError):
        backend.is_empty(besides=["refs"])
