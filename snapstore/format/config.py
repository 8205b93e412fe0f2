"""`config`: what a store is (docs/format.md, section 9)."""

from __future__ import annotations

from dataclasses import dataclass, field

from snapstore.errors import CorruptObjectError, FormatVersionError
from snapstore.format import chunker, xml
from snapstore.format.chunker import ChunkerParameters
from snapstore.format.ids import parse_session_id
from snapstore.format.seal import NO_SESSION, NO_STORE, VERSION, ObjectType
from snapstore.format.smallobject import read_small, write_small

NAME = "config"
NAMESPACE = "urn:snapstore:config:1"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """Fixed for the life of a store. `id` is 16 random bytes; `created` is nanoseconds since the epoch."""

    id: bytes
    created: int
    suite: str = "plain"
    chunker: str = chunker.NAME
    parameters: ChunkerParameters = field(default_factory=ChunkerParameters)


def write_config(config: StoreConfig) -> bytes:
    """The stored bytes of the object `config`."""
    p = config.parameters
    attributes = b' format="%d" id="%b" created="%b" suite="%b" chunker="%b" minimum="%d" average="%d" maximum="%d"' % (
        VERSION,
        config.id.hex().encode(),
        xml.time_text(*divmod(config.created, 1_000_000_000)),
        config.suite.encode(),
        config.chunker.encode(),
        p.minimum,
        p.average,
        p.maximum,
    )
    payload = xml.document(b"store", NAMESPACE.encode(), (), attributes)
    return write_small(ObjectType.CONFIG, payload, session=NO_SESSION, store=NO_STORE)


def read_config(data: bytes) -> StoreConfig:
    """The configuration in the stored bytes of `config`.

    Raises CorruptObjectError, or FormatVersionError where it names something that this release does not know.
    """
    header, payload = read_small(data, ObjectType.CONFIG, store=NO_STORE, name=NAME)
    if header.session != NO_SESSION:
        raise CorruptObjectError(NAME, "it names a session")
    root = xml.parse(payload, tag="store", namespace=NAMESPACE, name=NAME)
    newer = "use a newer snapstore"
    try:
        a = xml.Attributes(root)
        version = a.number("format")
        if version != VERSION:
            raise FormatVersionError(f"the store has format version {version}, not {VERSION}", advice=newer)
        store = parse_session_id(a.required("id"))
        seconds, fraction = a.time("created")
        suite, name = a.required("suite"), a.required("chunker")
        for element in root:
            raise FormatVersionError(f"the store needs the unknown feature {element.get('name')!r}", advice=newer)
        if suite != "plain":
            raise FormatVersionError(f"the store is sealed with the unknown suite {suite[:40]!r}", advice=newer)
        if name != chunker.NAME:
            raise FormatVersionError(f"the store uses the unknown chunker {name[:40]!r}", advice=newer)
        parameters = ChunkerParameters(a.number("minimum"), a.number("average"), a.number("maximum"))
        a.close()
    except ValueError as error:
        raise CorruptObjectError(NAME, str(error)) from error
    created = seconds * 1_000_000_000 + fraction
    return StoreConfig(id=store, created=created, suite=suite, chunker=name, parameters=parameters)
