from __future__ import annotations

import os

import pytest

from snapstore.fs.surveycache import SurveyCache, SurveyCacheWriter, empty_survey, open_survey

KEY, TAG = b"k" * 32, b"t" * 16


@pytest.fixture
def place(tmp_path: os.PathLike[str]) -> bytes:
    path = os.path.join(os.fsencode(tmp_path), b"survey")
    writer = SurveyCacheWriter(seed=7)
    writer.add(b"/etc", b"f" * 16, b"payload", b"12345678" * 3)
    writer.add(b"", b"g" * 16, b"", b"")
    writer.save(path, key=KEY, tag=TAG)
    return path


def test_what_was_saved_is_there(place: bytes) -> None:
    cache = open_survey(place, key=KEY, tag=TAG)
    assert (cache.seed, cache.current) == (7, True)
    found = cache.get(b"/etc")
    assert found is not None
    assert (found.fingerprint, found.payload, found.verified) == (b"f" * 16, b"payload", b"12345678" * 3)
    assert cache.get(b"") is not None
    assert cache.get(b"/usr") is None


def test_a_record_is_carried_over_as_it_is(place: bytes) -> None:
    cache = open_survey(place, key=KEY, tag=TAG)
    found = cache.get(b"/etc")
    assert found is not None
    writer = SurveyCacheWriter(seed=cache.seed)
    writer.carry(found)
    writer.save(place, key=KEY, tag=TAG)
    assert open_survey(place, key=KEY, tag=TAG).get(b"/etc") == found


def test_another_tag_keeps_what_was_verified_and_is_not_current(place: bytes) -> None:
    cache = open_survey(place, key=KEY, tag=b"u" * 16)
    assert not cache.current
    found = cache.get(b"/etc")
    assert found is not None
    assert found.verified


def knows_nothing(cache: SurveyCache) -> bool:
    return not cache.current and cache.get(b"/etc") is None


def test_another_key_none_and_damage_are_as_good_as_nothing(place: bytes) -> None:
    assert knows_nothing(empty_survey())
    assert knows_nothing(open_survey(place + b".none", key=KEY, tag=TAG))
    assert knows_nothing(open_survey(place, key=b"x" * 32, tag=TAG))
    with open(place, "rb") as file:
        whole = file.read()
    for at in range(len(whole)):
        with open(place, "wb") as file:
            file.write(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
        assert knows_nothing(open_survey(place, key=KEY, tag=TAG)), at
    for length in range(len(whole)):
        with open(place, "wb") as file:
            file.write(whole[:length])
        assert knows_nothing(open_survey(place, key=KEY, tag=TAG)), length
