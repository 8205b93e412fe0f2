"""Strategies for the values that the format stores."""

from __future__ import annotations

from hypothesis import strategies as st

from snapstore.model import ChunkId, Entry, IndexRef, Kind, Root, SessionId, Snapshot, Totals, Xattr

U32 = (1 << 32) - 1
MOST = (1 << 63) - 1

# Bytes as machines have them: mostly plain, some with what has to be escaped or cannot stand in XML at all.
_RAW = st.one_of(
    st.binary(min_size=1, max_size=20),
    st.text("abcXYZ .-_<>&\"'é\x01\n\x7f\x85\ufffe\U0001f600", min_size=1, max_size=20).map(str.encode),
)
names = (
    _RAW.map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"_"))
    .filter(lambda raw: raw not in (b".", b".."))
    .map(lambda raw: raw[:255])
)
paths = st.lists(names, min_size=1, max_size=4).map(b"/".join)
texts = st.one_of(st.just(b""), _RAW).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
ids = st.binary(min_size=32, max_size=32).map(ChunkId)
times = st.tuples(st.integers(-(1 << 63), MOST), st.integers(0, 999_999_999))
xattrs = st.dictionaries(_RAW.map(lambda raw: raw.replace(b"\0", b"_")), st.binary(max_size=20), max_size=3).map(
    lambda found: tuple(Xattr(name, found[name]) for name in sorted(found))
)


@st.composite
def _holes(draw: st.DrawFn, size: int) -> tuple[tuple[int, int], ...]:
    bounds = sorted(draw(st.sets(st.integers(0, size), max_size=6)))
    return tuple((low, high - low) for low, high in zip(bounds[::2], bounds[1::2], strict=False))


@st.composite
def entries(draw: st.DrawFn, *, kinds: st.SearchStrategy[Kind] | None = None) -> Entry:
    """Any entry that the format can hold."""
    kind = draw(st.sampled_from(Kind) if kinds is None else kinds)
    size = 0
    holes: tuple[tuple[int, int], ...] = ()
    chunks: tuple[ChunkId, ...] = ()
    tree = chunk_list = None
    unread = flags = ""
    if kind is Kind.FILE:
        size = draw(st.one_of(st.just(0), st.integers(0, 100), st.integers(0, MOST)))
        holes = draw(_holes(size))
        if sum(length for _, length in holes) < size:
            how = draw(st.sampled_from(("chunks", "list", "unread")))
            if how == "chunks":
                chunks = tuple(draw(st.lists(ids, min_size=1, max_size=64)))
            elif how == "list":
                chunk_list = draw(ids)
            else:
                unread = draw(st.sampled_from(("EIO", "EACCES")))
    elif kind is Kind.DIRECTORY:
        tree = draw(st.one_of(st.none(), ids))
        unread = "" if tree is not None else "EACCES"
    if kind in (Kind.FILE, Kind.DIRECTORY):
        flags = draw(st.sampled_from(("", "i", "aC")))
    device = kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)
    named = kind is not Kind.DIRECTORY
    return Entry(
        name=draw(names),
        kind=kind,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(st.integers(0, U32)),
        gid=draw(st.integers(0, U32)),
        user=draw(texts),
        group=draw(texts),
        mtime=draw(times),
        size=size,
        links=draw(st.integers(0, U32)) if named else 1,
        hardlink=draw(st.one_of(st.just(b""), paths)) if named else b"",
        rdev=draw(st.tuples(st.integers(0, U32), st.integers(0, U32))) if device else (0, 0),
        target=draw(_RAW.map(lambda raw: raw.replace(b"\0", b"_"))) if kind is Kind.SYMLINK else b"",
        flags=flags,
        acl=draw(texts),
        default_acl=draw(texts),
        xattrs=draw(xattrs),
        holes=holes,
        tree=tree,
        chunks=chunks,
        chunk_list=chunk_list,
        unread=unread,
    )


plain_files = st.builds(
    lambda name, size, mode, chunks, user: Entry(
        name=name, kind=Kind.FILE, mode=mode, uid=1, gid=2, user=user, size=size if chunks else 0, chunks=tuple(chunks)
    ),
    names,
    st.integers(1, MOST),
    st.integers(0, 0o7777),
    st.lists(ids, max_size=64),
    texts,
)

_COUNT = st.integers(0, (1 << 64) - 1)
_INSTANT = st.integers(-(1 << 63), MOST)


@st.composite
def records(draw: st.DrawFn) -> Snapshot:
    """Any commit record."""
    kind = draw(st.sampled_from(("snapshot", "checkpoint")))
    roots = st.builds(
        lambda path, entry: Root(path=b"/" + path, entry=entry), st.one_of(st.just(b""), paths), entries()
    )
    totals = Totals(
        files=draw(_COUNT), directories=draw(_COUNT), others=draw(_COUNT), size=draw(_COUNT), new_chunks=draw(_COUNT),
        new_data=draw(_COUNT), new_manifest=draw(_COUNT), stored_data=draw(_COUNT), stored_manifest=draw(_COUNT),
        warnings=draw(_COUNT),
    )  # fmt: skip
    return Snapshot(
        session=SessionId(draw(st.binary(min_size=16, max_size=16))),
        kind=kind,
        name=draw(texts),
        tags=tuple(draw(st.lists(texts, max_size=2))),
        host=draw(texts),
        os_release=draw(texts),
        user=draw(texts),
        tool=draw(texts),
        started=draw(_INSTANT),
        ended=draw(_INSTANT),
        writer=draw(st.binary(min_size=16, max_size=16)),
        sequence=draw(_COUNT),
        previous=draw(st.one_of(st.just(b""), ids)),
        roots=tuple(draw(st.lists(roots, max_size=2))) if kind == "snapshot" else (),
        scopes=tuple(draw(st.lists(st.tuples(st.from_regex(r"[a-z][a-z0-9-]{0,9}", fullmatch=True), ids), max_size=2))),
        excludes=tuple(draw(st.lists(texts, max_size=2))),
        indexes=tuple(draw(st.lists(st.builds(lambda d, s: IndexRef(digest=d, size=s), ids, _COUNT), max_size=2))),
        totals=totals,
    )
