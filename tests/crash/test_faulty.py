from __future__ import annotations

import errno
import os

import pytest

from snapstore.backends import MemoryBackend
from snapstore.errors import CorruptObjectError, MissingObjectError, StoreError, StoreFullError
from tests.crash.faulty import Die, Fail, Fault, FaultyBackend, FlipBit, Operation, Truncate


def faulty(*plan: Fault) -> FaultyBackend:
    return FaultyBackend(MemoryBackend(objects={"config": b"content"}), plan)


def everything(backend: FaultyBackend) -> None:
    backend.prepare(["packs/"])
    backend.put("packs/a", [b"a"])
    with backend.stage() as staged:
        staged.write(b"b")
        staged.publish("packs/b")
    backend.barrier()
    assert backend.get("packs/a") == b"a"
    assert backend.size("packs/b") == 1
    assert backend.exists("packs/b")
    assert len(list(backend.list("packs/"))) == 2
    backend.delete("packs/a")


def test_without_a_plan_it_only_takes_notes() -> None:
    backend = faulty()
    everything(backend)
    assert backend.calls == [
        ("prepare", ""),
        ("put", "packs/a"),
        ("stage", ""),
        ("write", ""),
        ("publish", "packs/b"),
        ("barrier", ""),
        ("get", "packs/a"),
        ("size", "packs/b"),
        ("exists", "packs/b"),
        ("list", "packs/"),
        ("delete", "packs/a"),
    ]
    assert backend.fired == []


@pytest.mark.parametrize("at", range(1, 12))
def test_the_chosen_call_fails_and_only_that(at: int) -> None:
    fault = Fault(at, Fail(errno.EIO))
    backend = faulty(fault)
    with pytest.raises(StoreError, match="Input/output error"):
        everything(backend)
    assert len(backend.calls) == at
    assert backend.fired == [fault]
    assert backend.get("config") == b"content"


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("operation", ["put", "publish", "delete"])
def test_a_failure_may_have_taken_effect(operation: Operation, *, applied: bool) -> None:
    backend = faulty(Fault(1, Fail(errno.ENOSPC, applied=applied), operation))
    with pytest.raises(StoreFullError):
        everything(backend)
    there = {listed.name for listed in backend.inner.list("packs/")}
    expected: dict[Operation, tuple[set[str], set[str]]] = {
        "put": (set(), {"packs/a"}),
        "publish": ({"packs/a"}, {"packs/a", "packs/b"}),
        "delete": ({"packs/a", "packs/b"}, {"packs/b"}),
    }
    assert there == expected[operation][applied]


def test_counting_one_operation_ignores_the_others() -> None:
    backend = faulty(Fault(2, Fail(errno.EIO), "put"))
    backend.put("a", [b"1"])
    assert backend.get("a") == b"1"
    with pytest.raises(StoreError):
        backend.put("b", [b"2"])
    backend.put("b", [b"2"])


def test_a_short_answer_is_noticed_where_the_length_is_known() -> None:
    backend = faulty(Fault(1, Truncate(3), "get"), Fault(2, Truncate(3), "get"), Fault(3, Truncate(3), "get"))
    with pytest.raises(CorruptObjectError, match="7 bytes asked for at 0, 3 came back"):
        backend.get("config", length=7)
    assert backend.get("config") == b"con"
    assert bytes(backend.view("config")) == b"con"
    assert backend.get("config") == b"content"


@pytest.mark.parametrize("bit", [0, 7, 8, 55, 56, 1000])
def test_exactly_one_bit_is_wrong(bit: int) -> None:
    damaged = faulty(Fault(1, FlipBit(bit))).get("config")
    wrong = int.from_bytes(damaged, "little") ^ int.from_bytes(b"content", "little")
    assert wrong == 1 << bit % 56


def test_errors_of_the_inner_backend_pass() -> None:
    with pytest.raises(MissingObjectError):
        faulty().get("nowhere")


def test_faults_of_reads_do_not_fit_writes() -> None:
    with pytest.raises(TypeError, match="fault of reads"):
        faulty(Fault(1, Truncate(1), "put")).put("a", [b"1"])


@pytest.mark.parametrize("applied", [False, True])
def test_the_process_dies_before_or_after(*, applied: bool) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        backend = faulty(Fault(1, Die(71, applied=applied), "put"))
        backend.inner = _Telling(writing)
        try:
            backend.put("a", [b"1"])
        finally:
            os._exit(1)  # not reached if the process died as planned
    os.close(writing)
    _, status = os.waitpid(child, 0)
    told = os.read(reading, 10)
    os.close(reading)
    assert os.waitstatus_to_exitcode(status) == 71
    assert told == (b"put" if applied else b"")


class _Telling(MemoryBackend):
    """Memory that tells another process, through a pipe, when something was put."""

    def __init__(self, pipe: int) -> None:
        super().__init__()
        self._pipe = pipe

    def _add(self, name: str, data: bytes) -> bool:
        os.write(self._pipe, b"put")
        return super()._add(name, data)
