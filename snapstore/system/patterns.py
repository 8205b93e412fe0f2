"""Path patterns, component by component, and an automaton that asks about all of them at once.

A path is taken from left to right, and each component leads from one state to the next; a state stands for all places
in all patterns that the components so far may have led to. States are made when they are first needed, so a few
thousand patterns cost what the paths of this machine make of them. Most paths lead to no state after two or three
components, and are done then.
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

DEEP = b"**"
"""The component that stands for any number of components."""

PATTERN_LIMIT = 4096
_COMPONENT_LIMIT = 64
_DEEP_LIMIT = 3  # each one more multiplies the states that a hostile pattern can make
_STAR_LIMIT = 8
_STATE_LIMIT = 20_000

_is_glob = re.compile(rb"[*?[]").search
_escaped = re.compile(rb"\[([*?[])\]")


class PatternError(ValueError):
    """The text is no pattern; the message says why."""


class Pattern(NamedTuple):
    """A pattern, taken apart. A `**` at the end of the text has become `*`, `**` here: one component or more."""

    components: tuple[bytes, ...]
    directory_only: bool
    below: bool
    """Whether it ends in `**`: what is below a path that it matches, it matches too."""


def parse_pattern(text: str) -> Pattern:
    """The pattern that a text stands for. PatternError."""
    raw = text.encode("utf-8", "surrogateescape")
    if len(raw) > PATTERN_LIMIT:
        raise PatternError("it is too long")
    if not raw.startswith(b"/") or b"\0" in raw:
        raise PatternError("it is no absolute path")
    directory_only = raw.endswith(b"/")
    components = raw[1 : -1 if directory_only else None].split(b"/")
    if len(components) > _COMPONENT_LIMIT or components.count(DEEP) > _DEEP_LIMIT:
        raise PatternError("it has too many parts")
    for number, component in enumerate(components):
        if component in (b"", b".", b".."):
            raise PatternError("a part of it is no name")
        if component == DEEP:
            if number and components[number - 1] == DEEP:
                raise PatternError("it has a ** behind another")
        elif DEEP in component:
            raise PatternError("its ** is not a part of its own")
        if _escaped.sub(b"", component).count(b"*") > _STAR_LIMIT:
            raise PatternError("it has too many stars")
    deep_end = components[-1] == DEEP
    if deep_end:
        components.insert(-1, b"*")
    return Pattern(tuple(components), directory_only, deep_end and not directory_only)


def literal_pattern(path: bytes) -> str:
    """The pattern that matches exactly that path."""
    return re.sub(rb"([*?[])", rb"[\1]", path).decode("utf-8", "surrogateescape")


def literal(component: bytes) -> bytes | None:
    """The only name that a component matches; None if there are several."""
    bare = _escaped.sub(b"", component)
    return None if _is_glob(bare) else _escaped.sub(rb"\1", component)


def component_matcher(component: bytes) -> Callable[[bytes], object]:
    """Tells by a true value whether a name matches; takes time in proportion to the lengths of both."""
    suffix = component[1:]
    if component.startswith(b"*") and not _is_glob(suffix):
        return operator.methodcaller("endswith", suffix)
    # Latin-1 makes one character of each byte, and bytes of each character again.
    translated = fnmatch.translate(component.decode("latin-1"))
    return re.compile(translated.encode("latin-1")).match


def may_meet(one: tuple[bytes, ...], other: tuple[bytes, ...]) -> bool:
    """Whether some path may match both; True for two globs in the same place, whatever they are."""
    reached = {(0, 0)}
    waiting = [(0, 0)]
    while waiting:
        a, b = waiting.pop()
        if a == len(one) and b == len(other):
            return True
        for pair in _steps(one, other, a, b):
            if pair not in reached:
                reached.add(pair)
                waiting.append(pair)
    return False


def _steps(one: tuple[bytes, ...], other: tuple[bytes, ...], a: int, b: int) -> list[tuple[int, int]]:
    steps = []
    deep_a = a < len(one) and one[a] == DEEP
    deep_b = b < len(other) and other[b] == DEEP
    if deep_a:
        steps.append((a + 1, b))
        if b < len(other):
            steps.append((a, b + 1))
    if deep_b:
        steps.append((a, b + 1))
        if a < len(one):
            steps.append((a + 1, b))
    if not deep_a and not deep_b and a < len(one) and b < len(other) and _same(one[a], other[b]):
        steps.append((a + 1, b + 1))
    return steps


def _same(one: bytes, other: bytes) -> bool:
    name, other_name = literal(one), literal(other)
    if name is not None and other_name is not None:
        return name == other_name
    if name is not None:
        return bool(component_matcher(other)(name))
    return other_name is None or bool(component_matcher(one)(other_name))


class _Place:
    """One place in the patterns: what may come next, and which patterns end here."""

    __slots__ = ("any", "deep", "ends", "globs", "literals", "loops", "number")

    def __init__(self, number: int, *, loops: bool = False) -> None:
        self.number = number
        self.loops = loops
        self.literals: dict[bytes, _Place] = {}
        self.globs: dict[bytes, tuple[Callable[[bytes], object], _Place]] = {}
        self.any: _Place | None = None
        self.deep: _Place | None = None
        self.ends: list[tuple[int, bool]] = []

    @property
    def last(self) -> bool:
        """Whether nothing can follow."""
        return not (self.loops or self.literals or self.globs or self.any or self.deep)


class _State:
    """A set of places.

    `edges` are the states behind names that patterns spell out, as far as they were needed; `rest` is the state behind
    every other name. None is the end: nothing below can match. Globs that only end patterns are kept apart in `closing`
    and are asked about the last name of a path alone, because a glob is the one thing that takes time.
    """

    __slots__ = ("closing", "edges", "ends", "globs", "places", "rest")

    def __init__(self, places: tuple[_Place, ...]) -> None:
        self.places = places
        self.ends = tuple(sorted(end for place in places for end in place.ends))
        globs = [glob for place in places for glob in place.globs.values()]
        self.globs = tuple(glob for glob in globs if not glob[1].last)
        self.closing = tuple(glob for glob in globs if glob[1].last)
        self.edges: dict[bytes, _State | None] = {name: _UNKNOWN for place in places for name in place.literals}
        self.rest: _State | None = _UNKNOWN


_UNKNOWN: _State = object.__new__(_State)
"""Stands for the state behind a name that has not been worked out, or that depends on the name."""


class Patterns:
    """All patterns of a book, by number. `find` gives the numbers of those that match, in order."""

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self._count = 0
        self._top = self._place()
        for number, pattern in enumerate(patterns):
            self._add(number, pattern)
        self._start: _State
        self._recent: tuple[bytes, _State | None]
        self._forget()

    def find(self, path: bytes, *, directory: bool) -> tuple[int, ...]:
        """The numbers of the patterns that match an absolute path; `directory` says whether it is one."""
        parent, _, last = path.rpartition(b"/")
        recent, state = self._recent  # a walk asks about one directory's names after the other
        if parent != recent:
            state = self._reach(parent)
            self._recent = (parent, state)
        if state is None or not last:  # the top itself is nobody's pattern
            return ()
        following = state.edges.get(last, state.rest)
        if following is _UNKNOWN:
            following = self._follow(state, last)
        ends = () if following is None else following.ends
        for matches, place in state.closing:
            if matches(last):
                ends = tuple(sorted((*ends, *place.ends)))
        if not ends:
            return ()
        return tuple(number for number, directory_only in ends if directory or not directory_only)

    def _reach(self, directory: bytes) -> _State | None:
        """The state that the names of a directory are asked about in; `directory` is empty for the top."""
        state = self._start
        for name in directory[1:].split(b"/") if directory else ():
            following = state.edges.get(name, state.rest)
            if following is _UNKNOWN:
                following = self._follow(state, name)
            if following is None:
                return None
            state = following
        return state

    # -- building -----------------------------------------------------------------------------------------------------

    def _place(self, *, loops: bool = False) -> _Place:
        self._count += 1
        return _Place(self._count, loops=loops)

    def _add(self, number: int, pattern: Pattern) -> None:
        place = self._top
        for component in pattern.components:
            name = literal(component)
            if component == DEEP:
                following = place.deep = place.deep or self._place(loops=True)
            elif component == b"*":
                following = place.any = place.any or self._place()
            elif name is not None:
                following = place.literals[name] = place.literals.get(name) or self._place()
            else:
                known = place.globs.get(component)
                if known is None:
                    known = place.globs[component] = (component_matcher(component), self._place())
                following = known[1]
            place = following
        place.ends.append((number, pattern.directory_only))

    # -- states -------------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._states: dict[tuple[int, ...], _State] = {}
        start = self._state({self._top.number: self._top})
        assert start is not None  # noqa: S101 - made of one place
        self._start = start
        self._recent = (b"", start)

    def _state(self, places: dict[int, _Place]) -> _State | None:
        for place in list(places.values()):
            if place.deep is not None:
                places[place.deep.number] = place.deep
        if not places:
            return None
        key = tuple(sorted(places))
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = _State(tuple(places[number] for number in key))
        return state

    def _follow(self, state: _State, name: bytes) -> _State | None:
        if len(self._states) > _STATE_LIMIT:
            self._forget()  # hostile patterns may have very many states; they are made again as they are needed
        places: dict[int, _Place] = {}
        for place in state.places:
            following = place.literals.get(name)
            for each in (place if place.loops else None, place.any, following):
                if each is not None:
                    places[each.number] = each
        for matches, target in state.globs:
            if matches(name):
                places[target.number] = target
        following_state = self._state(places)
        if name in state.edges:
            state.edges[name] = following_state
        elif not state.globs:
            state.rest = following_state
        return following_state
