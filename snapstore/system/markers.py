"""Links and files for which a tool keeps a marker that says that a package asked for them, as rules.

a2enmod(8) and phpenmod(8) remember who switched something on, a package or a person; update-xmlcatalog(8) keeps a
list for each package. What a person switched on has no such marker, so no rule holds for it. Off is not seen here: the
marker of what a person switched off is a file of its own, and no rule explains that either.
"""

from __future__ import annotations

from collections.abc import Iterator

from snapstore.system.packages import Warn
from snapstore.system.patterns import PatternError, literal_pattern, parse_pattern
from snapstore.system.root import Root, RootError
from snapstore.system.rules import GENERATED, Rule

_APACHE = b"/var/lib/apache2"
_APACHE_PLACES = (
    (b"module", b"/etc/apache2/mods-enabled/", (b".load", b".conf")),
    (b"conf", b"/etc/apache2/conf-enabled/", (b".conf",)),
    (b"site", b"/etc/apache2/sites-enabled/", (b".conf",)),
)
_PHP = b"/var/lib/php/modules"
_XML = b"/var/lib/xml-core"
_LIMIT = 10_000


def marked_rules(root: Root, warn: Warn) -> list[Rule]:
    """A rule for everything that a marker speaks for."""
    rules: list[Rule] = []
    for rule in (*_apache(root, warn), *_php(root, warn), *_xml(root, warn)):
        try:
            parse_pattern(rule.pattern)
        except PatternError as error:
            warn(rule.pattern.encode("utf-8", "surrogateescape"), f"what a marker says of it is not taken: {error}")
        else:
            rules.append(rule)
    return rules


def _names(root: Root, directory: bytes, warn: Warn) -> list[bytes]:
    try:
        names = root.list(directory)
    except RootError as error:
        warn(directory, f"its markers are not known: {error.strerror}")
        return []
    if len(names) > _LIMIT:
        warn(directory, f"only the first {_LIMIT} of its markers are looked at")
    return names[:_LIMIT]


def _apache(root: Root, warn: Warn) -> Iterator[Rule]:
    for kind, place, endings in _APACHE_PLACES:
        for name in _names(root, b"%b/%b/enabled_by_maint" % (_APACHE, kind), warn):
            for ending in endings:
                pattern = literal_pattern(place + name + ending)
                yield _enabled("apache-defaults", pattern, "a2enmod(8), a2enconf(8), a2ensite(8)", "/etc/apache2/")


def _php(root: Root, warn: Warn) -> Iterator[Rule]:
    for version in _names(root, _PHP, warn):
        for server in _names(root, b"%b/%b" % (_PHP, version), warn):
            for name in _names(root, b"%b/%b/%b/enabled_by_maint" % (_PHP, version, server), warn):
                place = literal_pattern(b"/etc/php/%b/%b/conf.d/" % (version, server))
                # The number in front is its place in the order of loading.
                pattern = f"{place}[0-9][0-9]-{literal_pattern(name)}.ini"
                yield _enabled("php-defaults", pattern, "phpenmod(8)", "/etc/php/")


def _enabled(identity: str, pattern: str, source: str, leads_to: str) -> Rule:
    return Rule(
        id=identity,
        cls=GENERATED,
        pattern=pattern,
        reason="enabled by a package",
        source=source,
        check="owned-link",
        detail=leads_to,
    )


def _xml(root: Root, warn: Warn) -> Iterator[Rule]:
    for name in _names(root, _XML, warn):
        for ending in (b".xml", b".xml.old"):
            yield Rule(
                id="xml-catalogs",
                cls=GENERATED,
                pattern=literal_pattern(b"/etc/xml/" + name + ending),
                reason="the catalogue of one package",
                source="update-xmlcatalog(8)",
                omit=True,
            )
