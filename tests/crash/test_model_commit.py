from __future__ import annotations

import pytest

from tests.crash.model_commit import CollectRules, CommitRules, explore

DAMAGED = "snapshot damaged"
LOST = "acknowledged snapshot lost"
STALE = "index names a missing pack"


@pytest.mark.parametrize(
    ("rules", "points", "states"),
    [
        pytest.param(CommitRules(), 17, 37, id="commit"),
        pytest.param(CommitRules(shard_directory_prepared=False), 19, 39, id="commit, shard directory made on demand"),
        pytest.param(CollectRules(), 8, 13, id="collect"),
    ],
)
def test_the_protocol_survives_every_crash(rules: CommitRules | CollectRules, points: int, states: int) -> None:
    result = explore(rules)
    assert (result.points, result.states) == (points, states)
    assert not result.violations


@pytest.mark.parametrize(
    ("rules", "points", "states", "violations", "kinds"),
    [
        pytest.param(CommitRules(pack_fsync=False), 15, 103, 52, {DAMAGED, STALE}, id="no pack fsync"),
        pytest.param(
            CommitRules(pack_directory_fsync=False), 15, 195, 156, {DAMAGED, STALE}, id="no pack directory fsync"
        ),
        pytest.param(CommitRules(index_fsync=False), 16, 47, 4, {DAMAGED}, id="no index fsync"),
        pytest.param(CommitRules(index_directory_fsync=False), 16, 54, 8, {DAMAGED}, id="no index directory fsync"),
        pytest.param(CommitRules(final_fsync=False), 16, 38, 1, {LOST}, id="no commit record fsync"),
        pytest.param(
            CommitRules(final_directory_fsync=False), 16, 36, 2, {LOST}, id="no commit record directory fsync"
        ),
        pytest.param(CommitRules(commit_record_last=False), 17, 37, 54, {DAMAGED}, id="commit record first"),
        pytest.param(
            CommitRules(shard_directory_prepared=False, shard_parent_fsync=False),
            18,
            57,
            13,
            {DAMAGED, STALE},
            id="shard directory made on demand, parent not fsynced",
        ),
        pytest.param(
            CommitRules(pack_directory_fsync=False, index_directory_fsync=False, final_directory_fsync=False),
            13,
            321,
            210,
            {DAMAGED, LOST, STALE},
            id="files fsynced, directories not",
        ),
        pytest.param(
            CommitRules(
                pack_fsync=False,
                pack_directory_fsync=False,
                index_fsync=False,
                index_directory_fsync=False,
                final_fsync=False,
                final_directory_fsync=False,
            ),
            9,
            1249,
            1100,
            {DAMAGED, LOST, STALE},
            id="no fsync at all",
        ),
        pytest.param(
            CommitRules(trusts_committed_only=False),
            14,
            57,
            13,
            {DAMAGED, STALE},
            id="deduplicates against a pack because it is there",
        ),
        pytest.param(CollectRules(barrier_between_indexes=False), 7, 14, 1, {DAMAGED}, id="no barrier between indexes"),
        pytest.param(CollectRules(barrier_before_packs=False), 7, 15, 2, {STALE}, id="no barrier before packs go"),
        pytest.param(CollectRules(new_index_before_old_goes=False), 8, 18, 4, {DAMAGED}, id="old index goes first"),
    ],
)
def test_without_a_rule_something_is_lost(
    rules: CommitRules | CollectRules, points: int, states: int, violations: int, kinds: set[str]
) -> None:
    result = explore(rules)
    assert (result.points, result.states) == (points, states)
    assert result.violations.total() == violations
    assert set(result.violations) == kinds
