"""Runs one command's work: in a thread of its own, so that signals are heard whatever the work is waiting for.

The first SIGINT, SIGTERM or SIGHUP asks the work to stop and gives it most of a second to leave things tidy; after
that, or at the second signal, the process ends where it is. That is safe: a store is valid at every moment
(docs/format.md, section 11), and a restored file has its name only once it is complete.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Concatenate, NoReturn, ParamSpec

import click

from snapstore.cli.memory import collect_rarely, keep_freed_memory
from snapstore.cli.output import Output, complain
from snapstore.cli.parameters import ORDER_KEY
from snapstore.cli.progress import Display, choose_display
from snapstore.cli.settings import Settings, cache_directory, default_store, demand_kernel, state_directory
from snapstore.errors import CancelledError, NoStoreError, RequestError, StoreError

if TYPE_CHECKING:
    from types import FrameType

    from snapstore.backends import Durability
    from snapstore.flow import Cancellation
    from snapstore.model import Snapshot
    from snapstore.ops.snapshot import LocalState
    from snapstore.store.repository import Store, View

P = ParamSpec("P")

CANCELLED = 130
GRACE = 0.8
"""Seconds between the first signal and the end of the process, at most."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Run:
    """What a command works with: where it tells, what stops it, and the store that was named."""

    def __init__(self, context: click.Context) -> None:
        from snapstore.flow import Cancellation

        self.settings = settings = context.find_object(Settings) or Settings()
        self.program = context.find_root().command
        self.ordered: Sequence[tuple[str, str | bytes]] = context.meta.get(ORDER_KEY, ())
        self.output = Output(settings)
        self.cancellation: Cancellation = Cancellation()
        self._display: Display | None = None
        self.damage: list[StoreError] = []

    @property
    def progress(self) -> Display:
        """The display; made at first use."""
        if self._display is None:
            self._display = choose_display(self.output)
        return self._display

    def close_progress(self) -> None:
        """Nothing is shown any more."""
        if self._display is not None:
            self._display.close()

    @property
    def url(self) -> str:
        """The store that was named, or the default one."""
        return self.settings.chosen_store or default_store()

    def store(self, *, durability: Durability = "full") -> Store:
        """The store, opened. NoStoreError where there is none."""
        from snapstore.backends import open_backend
        from snapstore.store.repository import open_store

        try:
            return open_store(open_backend(self.url, durability=durability))
        except NoStoreError as error:
            advice = error.advice or "make one with `snapstore init`, or name one with -s or SNAPSTORE_STORE"
            raise NoStoreError(error.message, advice=advice) from error

    def store_to_write(self, *, durability: Durability = "full") -> Store:
        """The store, opened; the default one is made if there is none yet, and that is said."""
        try:
            return self.store(durability=durability)
        except NoStoreError:
            if self.settings.chosen_store is not None:
                raise
            url = self.url
        from snapstore.backends import open_backend
        from snapstore.store.repository import create_store

        try:
            create_store(open_backend(os.fsencode(url)))
        except RequestError as error:
            try:
                return self.store(durability=durability)  # another first snapshot made it at the same time
            except NoStoreError:
                raise error from None
        self.output.notice(f"made the default store at {url}, without encryption")
        return self.store(durability=durability)

    def view(self) -> View:
        """The store as it is now."""
        return self.seen(self.store().view())

    def seen(self, view: View) -> View:
        """The view itself; what is damaged in it is noted."""
        self.note_damage(view.damaged)
        return view

    def note_damage(self, damaged: Sequence[StoreError]) -> None:
        """Keeps in mind the damaged objects that the command does without."""
        self.damage.extend(damaged)

    def report_damage(self) -> None:
        """StoreError, after all that could be done has been, if something in the store is damaged."""
        if self.damage:
            first = self.damage[0]
            more = f"; so are {len(self.damage) - 1} more objects" if len(self.damage) > 1 else ""
            raise StoreError(f"{first.message}{more}", advice=first.advice)

    def local(self, *, make: bool = True) -> LocalState:
        """This machine's directories for caches and state, made if need be unless they are not to be."""
        from snapstore.ops.snapshot import LocalState

        return LocalState(cache=cache_directory(make=make), state=state_directory(make=make))

    def own_places(self) -> frozenset[tuple[int, int]]:
        """Where snapstore itself lives on this machine, the store that was named or the default one included."""
        from snapstore.backends import LocalBackend, open_backend
        from snapstore.ops.places import directories_at

        local = self.local(make=False)
        backend = open_backend(self.url)
        store = [backend.path] if isinstance(backend, LocalBackend) else []
        return directories_at([local.cache, local.state, *store])

    def choose(self, view: View, name: str) -> Snapshot:
        """The snapshot of that name."""
        from snapstore.store.repository import choose

        return choose(view.finals.snapshots(), name)


def verb(function: Callable[Concatenate[Run, P], int | None]) -> Callable[P, int]:
    """The command body that runs `function` under supervision; gives the exit code, 0 for None."""

    @functools.wraps(function)
    def body(*args: P.args, **kwargs: P.kwargs) -> int:
        demand_kernel()
        keep_freed_memory()
        collect_rarely()
        run = Run(click.get_current_context())

        def work() -> int:
            code = function(run, *args, **kwargs)
            run.close_progress()
            run.output.flush()
            run.report_damage()
            return code or 0

        try:
            return _supervise(run, work)
        finally:
            run.close_progress()

    # functools.wraps leaves a trace that would have click see the parameters of the function.
    del body.__wrapped__
    return body


def _supervise(run: Run, work: Callable[[], int]) -> int:
    from snapstore.flow import Background

    codes: list[int] = []
    with _Signals(run):
        thread = Background(depth=1)
        thread.submit(lambda: codes.append(work()))
        thread.finish()
    if not codes:
        raise CancelledError("stopped")
    return codes[0]


class _Signals:
    """Handlers for as long as the work runs; signals that were ignored from the start stay ignored (nohup)."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._heard = False
        self._before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._stop)
        self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._leave)

    def __exit__(self, *error: object) -> None:
        if self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._heard:
            self._leave(number, frame)
        self._heard = True
        self._run.cancellation.cancel()
        signal.setitimer(signal.ITIMER_REAL, GRACE)
        self._run.output.notice("stopping")

    def _leave(self, number: int, frame: FrameType | None) -> NoReturn:
        del number, frame
        self._run.close_progress()
        if self._heard:
            message = "stopped before it was done; the store is valid"
            self._run.output.fail(CANCELLED, message, "what was committed is kept, run the command again to go on")
        else:
            complain("")
        os._exit(CANCELLED)
