"""Hostile XML: documents that a lenient parser would take, or that would do harm to one that takes too much."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from tests.vectors import golden
from tests.vectors.case import Case

DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'
DECLARED = "holds a declaration, comment or instruction"
ID = b"00" * 32
FILE = b'<file name="a" size="0" mtime="0.000000000" mode="0644" uid="0" gid="0"/>\n'
FILE_B = FILE.replace(b'"a"', b'"b"')
DIR = b'<dir name="a" mtime="0.000000000" mode="0755" uid="0" gid="0" tree="' + ID + b'"/>\n'
LINK = b'<link name="a" mtime="0.000000000" mode="0777" uid="0" gid="0" target="t"/>\n'
DEVICE = b'<chardev name="a" mtime="0.000000000" mode="0644" uid="0" gid="0" rdev="1:2"/>\n'
SHARD = b'<shard first="a" entries="2" id="' + ID + b'"/>\n'


def tree(*lines: bytes) -> bytes:
    """A tree document of these lines."""
    return DECLARATION + b'<tree xmlns="urn:snapstore:tree:1">\n' + b"".join(lines) + b"</tree>\n"


def cases() -> list[Case]:
    """All of them."""
    return [*_documents(), *_forms(), *_entries(), *_names(), *_files(), *_xattrs(), *_lists(), *_records()]


def _case(file: str, data: bytes, phrase: str) -> Case:
    return Case(f"xml-{file}.xml", "tree", data, phrase)


def _changed(file: str, old: bytes, new: bytes, phrase: str, *, of: bytes = FILE) -> Case:
    assert of.count(old) == 1, (file, old)
    return _case(file, tree(of.replace(old, new)), phrase)


def _documents() -> Iterator[Case]:
    good = tree(FILE)
    body = good.removeprefix(DECLARATION)
    laughs = b'<!DOCTYPE tree [\n<!ENTITY a0 "ha">\n'
    laughs += b"".join(b'<!ENTITY a%d "%b">\n' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 10)) + b"]>\n"
    yield _case("billion-laughs", DECLARATION + laughs + body.replace(b'"a"', b'"&a9;"'), DECLARED)
    yield _case("doctype", DECLARATION + b"<!DOCTYPE tree>\n" + body, DECLARED)
    external = b'<!DOCTYPE tree [<!ENTITY x SYSTEM "file:///etc/passwd">]>\n'
    yield _case("external-entity", DECLARATION + external + body.replace(b'"a"', b'"&x;"'), DECLARED)
    yield _case("external-dtd", DECLARATION + b'<!DOCTYPE tree SYSTEM "http://localhost/x.dtd">\n' + body, DECLARED)
    parameter = b'<!DOCTYPE tree [<!ENTITY % p SYSTEM "file:///dev/zero"> %p;]>\n'
    yield _case("parameter-entity", DECLARATION + parameter + body, DECLARED)
    default = b'<!DOCTYPE tree [<!ATTLIST file user CDATA "root">]>\n'
    yield _case("attribute-default", DECLARATION + default + body, DECLARED)
    yield _case("comment", tree(b"<!-- x -->\n", FILE), DECLARED)
    yield _case("cdata", tree(b"<![CDATA[x]]>\n", FILE), DECLARED)
    yield _case("instruction", tree(b"<?x y?>\n", FILE), DECLARED)
    yield _case("stylesheet", DECLARATION + b'<?xml-stylesheet href="x"?>\n' + body, DECLARED)
    yield _case("in-value", _changed("", b'"a"', b'"<!x"', "").data, DECLARED)

    first = "does not begin with the XML declaration"
    yield _case("bom", b"\xef\xbb\xbf" + good, first)
    yield _case("utf-16", good.decode().replace("UTF-8", "UTF-16").encode("utf-16"), first)
    yield _case("latin-1", good.replace(b"UTF-8", b"ISO-8859-1"), first)
    yield _case("no-declaration", body, first)
    yield _case("standalone", good.replace(b"?>", b' standalone="yes"?>'), first)
    yield _case("declaration-quotes", good.replace(b'"1.0"', b"'1.0'"), first)
    yield _case("crlf", good.replace(b"\n", b"\r\n"), first)
    yield _case("blank-first", b"\n" + good, first)

    yield _changed("overlong", b'"a"', b'"\xc0\xaf"', "is not UTF-8")
    yield _changed("surrogate", b'"a"', b'"\xed\xa0\x80"', "is not UTF-8")
    yield _changed("beyond-unicode", b'"a"', b'"\xf4\x90\x80\x80"', "is not UTF-8")
    yield _changed("cut-sequence", b'"a"', b'"\xe2\x82"', "is not UTF-8")

    start = "does not begin with a tree of this format version"
    yield _case("namespace-2", good.replace(b"tree:1", b"tree:2"), start)
    yield _case("namespace-none", good.replace(b' xmlns="urn:snapstore:tree:1"', b""), start)
    yield _case("namespace-prefix", good.replace(b"xmlns=", b"xmlns:t=").replace(b"tree ", b"t:tree "), start)
    yield _case("other-root", golden.list_documents(3)[-1], start)
    deep = b"<file>\n" * 300 + b"</file>\n" * 300
    yield _case("depth-300", tree(deep), "is not XML")
    yield _case(
        "depth-3", tree(FILE[:-3] + b">\n" + FILE[:-3] + b">\n" + FILE_B + b"</file>\n</file>\n"), "unknown element"
    )


def _forms() -> Iterator[Case]:
    form = "is not in canonical form"
    good = tree(FILE)
    yield _case("no-line-feed", good[:-1], form)
    yield _case("two-line-feeds", good + b"\n", form)
    yield _case("trailing-blank", good + b" ", form)
    yield _case("after-root", good + FILE, "is not XML")
    yield _case("two-roots", good + b"<tree/>\n", "is not XML")
    yield _case("cut", good[: len(good) // 2], form)
    yield _case("cut-at-line", tree(FILE)[: -len(b"</tree>\n")], "is not XML")
    yield _case("indented", tree(b" " + FILE), form)
    yield _case("one-line", tree(FILE[:-1], FILE_B), form)
    for number, tail in enumerate((b"text", FILE_B[:-1], b" ", b"<!-- x -->", b"\0")):
        phrase = DECLARED if tail.startswith(b"<!") else form
        yield _case(f"before-end-{number}", good.replace(b"</tree>", tail + b"</tree>"), phrase)
    yield _case("text", tree(b"text\n", FILE), form)
    yield _case("empty-lines", tree(b"\n", FILE), form)
    yield _case("end-tag", tree(FILE.replace(b"/>", b"></file>")), form)
    yield _case("end-tag-line", tree(FILE.replace(b"/>", b">\n</file>")), form)
    yield _case("empty-root", tree(), form)
    yield _changed("blank-before-close", b"/>", b" />", form)
    yield _changed("two-blanks", b' size="', b'  size="', form)
    yield _changed("tab", b' size="', b'\tsize="', form)
    yield _changed("line-feed", b' size="', b'\nsize="', form)
    yield _changed("blank-at-equals", b'size="', b'size ="', form)
    yield _changed("single-quotes", b'"a"', b"'a'", form)
    yield _changed("apos", b'"a"', b'"&apos;"', form)
    yield _changed("unknown-entity", b'"a"', b'"&nbsp;"', form)
    yield _changed("character-nul", b'"a"', b'"&#0;"', form)
    yield _changed("character-10", b'"a"', b'"&#10;"', form)
    yield _changed("character-hex", b'"a"', b'"&#x41;"', form)
    yield _changed("ampersand", b'"a"', b'"a&b"', form)
    yield _changed("greater", b'"a"', b'"a>b"', form)
    yield _changed("less", b'"a"', b'"a<b"', form)
    yield _changed("nul", b'"a"', b'"\0"', form)
    yield _changed("tab-in-value", b'"a"', b'"a\tb"', form)
    yield _changed("line-feed-in-value", b'"a"', b'"a\nb"', form)
    yield _changed("delete", b'"a"', b'"\x7f"', "has a name that needs base64")
    yield _changed("c1", b'"a"', b'"\xc2\x85"', "has a name that needs base64")
    yield _changed("not-a-character", b'"a"', b'"\xef\xbf\xbe"', "is not XML")
    yield _changed("namespace-again", b"<file", b'<file xmlns="urn:snapstore:tree:1"', form)
    yield _changed("namespace-inside", b"<file", b'<file xmlns="urn:x"', form)
    yield _changed("namespace-attribute", b" size", b' x:y="1" size', form)
    yield _changed("prefix", b"<file", b"<t:file", form)
    yield _changed("duplicate-attribute", b' size="0"', b' size="0" size="0"', "is not XML")
    yield _changed("unknown-attribute", b"/>", b' inode="7"/>', "unknown or misplaced attribute inode")
    moved = b'<file size="0" name="a" mtime="0.000000000" mode="0644" uid="0" gid="0"/>\n'
    yield _case("reordered", tree(moved), "cannot be the name of a file")
    yield _changed("reordered-owner", b'uid="0" gid="0"', b'gid="0" uid="0"', "lacks uid in its place")
    yield _changed("reordered-optional", b"/>", b' links="2" group="g"/>', "unknown or misplaced attribute group")
    yield _changed("unknown-element", b"<file", b"<door", "unknown element")
    yield _changed("upper-case", b"<file", b"<File", form)


def _entries() -> Iterator[Case]:
    yield _case("unsorted", tree(FILE_B, FILE), "its names are not in order")
    yield _case("equal-names", tree(FILE, FILE), "its names are not in order")
    yield _case("equal-names-kinds", tree(FILE, LINK), "its names are not in order")
    for attribute in (b"size", b"mtime", b"mode", b"uid", b"gid", b"name"):
        start = FILE.index(b" " + attribute + b'="')
        without = FILE[:start] + FILE[FILE.index(b'"', FILE.index(b'"', start) + 1) + 1 :]
        phrase = "cannot be the name" if attribute == b"name" else "in its place"
        yield _case(f"no-{attribute.decode()}", tree(without), phrase)
    for number, mode in enumerate((b"644", b"00644", b"000000644", b"0o644", b"8644", b"-644", b"10644", b"", b"0648")):
        yield _changed(f"mode-{number}", b'"0644"', b'"%b"' % mode, "is no mode")
    for number, uid in enumerate((b"-1", b"00", b"+1", b"1.0", b"", b"0x1", b" 1", b"1_0", b"\xd9\xa1")):
        yield _changed(f"uid-{number}", b'uid="0"', b'uid="%b"' % uid, "is no number")
    yield _changed("uid-2-32", b'uid="0"', b'uid="4294967296"', "is more than 4294967295")
    for number, time in enumerate(
        (
            b"0", b"0.", b"0.0", b"0.00000000", b"0.0000000000", b"-0.000000000", b"-0.500000000", b"01.000000000",
            b"+1.000000000", b" 1.000000000", b"1,000000000", b"1e9", b"nan", b"", b".000000000", b"--1.000000000",
        )
    ):  # fmt: skip
        yield _changed(f"time-{number}", b'"0.000000000"', b'"%b"' % time, "that is no time")
    for number, time in enumerate((b"9223372036854775808.000000000", b"-9223372036854775809.000000000")):
        yield _changed(f"time-huge-{number}", b'"0.000000000"', b'"%b"' % time, "beyond what a time can be")
    yield _changed("time-longer", b'"0.000000000"', b'"%b.000000000"' % (b"9" * 5000), "that is no time")
    yield _changed("user-empty", b"/>", b' user=""/>', "states an empty user")
    yield _changed("user-twin-empty", b"/>", b' user-b64=""/>', "needs no base64")
    yield _changed("links-default", b"/>", b' links="1"/>', "states the default of links")
    yield _changed("acl-empty", b"/>", b' acl=""/>', "states an empty acl")
    yield _changed("flags-empty", b"/>", b' flags=""/>', "is not valid here")
    yield _changed("flags", b"/>", b' flags="a i"/>', "is not valid here")
    yield _changed("file-target", b"/>", b' target="x"/>', "unknown or misplaced attribute target")
    yield _changed("link-without-target", b' target="t"', b"", "a symbolic link needs a target", of=LINK)
    yield _changed("link-empty-target", b'target="t"', b'target=""', "a symbolic link needs a target", of=LINK)
    nul = base64.b64encode(b"a\0b")
    yield _changed("link-nul", b'target="t"', b'target-b64="%b"' % nul, "needs a target", of=LINK)
    yield _changed("link-chunks", b"/>", b' chunks="%b"/>' % ID, "unknown or misplaced", of=LINK)
    yield _changed("link-size", b" mtime", b' size="1" mtime', "lacks mtime in its place", of=LINK)
    for number, rdev in enumerate((b"1", b"1:", b":2", b"1:2:3", b"01:2", b"-1:2", b"1 2", b"")):
        yield _changed(f"rdev-{number}", b'"1:2"', b'"%b"' % rdev, "is no number", of=DEVICE)
    yield _changed("rdev-2-32", b'"1:2"', b'"1:4294967296"', "is more than 4294967295", of=DEVICE)
    yield _changed("rdev-missing", b' rdev="1:2"', b"", "lacks rdev in its place", of=DEVICE)
    contradiction = "a directory has either a tree or the reason why not"
    yield _changed("tree-missing", b' tree="%b"' % ID, b"", contradiction, of=DIR)
    yield _changed("tree-and-unread", b"/>", b' unread="EIO"/>', contradiction, of=DIR)
    yield _changed("tree-short", ID, ID[2:], "not a chunk id", of=DIR)
    yield _changed("tree-upper-case", ID, b"AA" * 32, "not a chunk id", of=DIR)
    yield _changed("unread-words", b' tree="%b"' % ID, b' unread="no idea"', "is not valid here", of=DIR)
    yield _changed("dir-links", b" tree", b' links="2" tree', contradiction, of=DIR)


def _names() -> Iterator[Case]:
    unfit = "cannot be the name of a file"
    for number, name in enumerate((b"", b".", b"..", b"a/b", b"/", b"x" * 256, "ü".encode() * 128)):
        yield _changed(f"name-{number}", b'"a"', b'"%b"' % name, unfit)
    for number, raw in enumerate((b"a\0b", b"\0", b"\xff/x", b"\xff" * 256)):
        twin = b'name-b64="%b"' % base64.b64encode(raw)
        yield _changed(f"name-raw-{number}", b'name="a"', twin, unfit)
    for number, raw in enumerate((b"a", b"..", b"", "ü".encode())):
        twin = b'name-b64="%b"' % base64.b64encode(raw)
        yield _changed(f"name-needless-{number}", b'name="a"', twin, "needs no base64")
    bad = (b"/x=", b"/w", b"/w=", b"/w===", b" /w==", b"/w ==", b"_w==", b"!", b"AB=C", b"/w==/w==")
    for number, text in enumerate(bad):
        yield _changed(f"name-base64-{number}", b'name="a"', b'name-b64="%b"' % text, "base64")
    yield _changed("name-both", b'name="a"', b'name="a" name-b64="/w=="', "lacks size in its place")
    for number, path in enumerate((b"../a", b"a/../b", b"/a", b"a/", b"a//b", b".", b"a/./b", b"")):
        yield _changed(f"hardlink-{number}", b"/>", b' hardlink="%b"/>' % path, unfit)


def _files() -> Iterator[Case]:
    for number, size in enumerate((b"-1", b"01", b"", b"1e3", b"100000000000000000000")):
        yield _changed(f"size-{number}", b'size="0"', b'size="%b"' % size, "is no number")
    for number, size in enumerate((b"9223372036854775808", b"18446744073709551616")):
        yield _changed(f"size-huge-{number}", b'size="0"', b'size="%b"' % size, "is more than 9223372036854775807")
    contradiction = "its size and its chunks contradict each other"
    sized = FILE.replace(b'size="0"', b'size="9000"')
    yield _case("no-chunks", tree(sized), contradiction)
    yield _changed("chunks-of-nothing", b"/>", b' chunks="%b"/>' % ID, contradiction)
    yield _changed("list-of-nothing", b"/>", b' chunk-list="%b"/>' % ID, contradiction)
    yield _changed("both", b"/>", b' chunks="%b" chunk-list="%b"/>' % (ID, ID), contradiction, of=sized)
    yield _changed("chunks-and-unread", b"/>", b' chunks="%b" unread="EIO"/>' % ID, contradiction, of=sized)
    yield _changed("unread-lower", b"/>", b' unread="eio"/>', "is not valid here", of=sized)
    yield _changed("chunks-empty", b"/>", b' chunks=""/>', "not a chunk id", of=sized)
    yield _changed("chunks-two-blanks", b"/>", b' chunks="%b  %b"/>' % (ID, ID), "not a chunk id", of=sized)
    yield _changed("chunks-comma", b"/>", b' chunks="%b,%b"/>' % (ID, ID), "not a chunk id", of=sized)
    many = b" ".join([ID] * 65)
    yield _changed("chunks-65", b"/>", b' chunks="%b"/>' % many, "more chunks than may stand in a tree", of=sized)
    overlap, malformed = "its holes overlap, touch or leave the file", "are no holes"
    for number, (holes, phrase) in enumerate(
        (
            (b"0+100 50+100", overlap), (b"0+100 100+100", overlap), (b"200+100 0+100", overlap), (b"0+9001", overlap),
            (b"9000+1", overlap), (b"5+0", overlap), (b"0+18446744073709551615", overlap), (b"00+1", "is no number"),
            (b"0+01", "is no number"), (b"", malformed), (b"5", malformed), (b"5-6", malformed),
            (b"0+1  3+1", malformed),
            (b"-1+5", malformed), (b"0+18446744073709551616", "is more than"),
        )
    ):  # fmt: skip
        holed = sized.replace(b"/>", b' holes="%b" chunks="%b"/>' % (holes, ID))
        yield _case(f"holes-{number}", tree(holed), phrase)
    whole = sized.replace(b"/>", b' holes="0+9000" chunks="%b"/>' % ID)
    yield _case("holes-whole", tree(whole), contradiction)


def _xattrs() -> Iterator[Case]:
    def held(file: str, phrase: str, *lines: bytes) -> Case:
        return _case(f"xattr-{file}", tree(FILE[:-3] + b">\n" + b"".join(lines) + b"</file>\n"), phrase)

    a, b = b'<xattr name="user.a" value=""/>\n', b'<xattr name="user.b" value=""/>\n'
    order = "its extended attributes are not in order"
    yield held("unsorted", order, b, a)
    yield held("equal", order, a, a)
    yield held("no-name", "an extended attribute needs a name", b'<xattr value=""/>\n')
    yield held("empty-name", "an extended attribute needs a name", b'<xattr name="" value=""/>\n')
    yield held("nul", "an extended attribute needs a name", b'<xattr name-b64="AA==" value=""/>\n')
    yield held("no-value", "lacks value in its place", b'<xattr name="user.a"/>\n')
    yield held("base64", "base64", b'<xattr name="user.a" value="a"/>\n')
    yield held("base64-bits", "base64 that is not canonical", b'<xattr name="user.a" value="/x=="/>\n')
    yield held("inside", "holds an element", a.replace(b"/>", b">") + b + b"</xattr>\n")
    yield held("unknown", "unknown element", a.replace(b"xattr", b"yattr"))
    yield held("attribute", "unknown or misplaced", a.replace(b"/>", b' flags="1"/>'))
    yield held("entry", "unknown element", FILE_B)


def _lists() -> Iterator[Case]:
    def chunks(file: str, phrase: str, *lines: bytes) -> Case:
        data = DECLARATION + b'<chunks xmlns="urn:snapstore:chunks:1">\n' + b"".join(lines) + b"</chunks>\n"
        return Case(f"chunks-{file}.xml", "chunks", data, phrase)

    c = b'<c id="' + ID + b'"/>\n'
    shard = b'<shard id="' + ID + b'" chunks="2" size="200"/>\n'
    nothing = DECLARATION + b'<chunks xmlns="urn:snapstore:chunks:1"/>\n'
    yield Case("chunks-nothing.xml", "chunks", nothing, "a chunk list holds chunks or shards")
    yield chunks("mixed", "a chunk list holds chunks or shards", c, shard)
    yield chunks("short", "not a chunk id", c.replace(ID, ID[2:]))
    yield chunks("no-id", "lacks id in its place", b"<c/>\n")
    yield chunks("extra", "unknown or misplaced", c.replace(b"/>", b' size="1"/>'))
    yield chunks(
        "order", "lacks chunks in its place", shard.replace(b'chunks="2" size="200"', b'size="200" chunks="2"')
    )
    yield chunks("count-0", "stands for nothing", shard.replace(b'"2"', b'"0"'))
    yield chunks("size-0", "stands for nothing", shard.replace(b'"200"', b'"0"'))
    yield chunks("unknown", "unknown element", c.replace(b"<c", b"<d"))
    yield chunks("inside", "holds an element", c.replace(b"/>", b">") + c + b"</c>\n")

    second = SHARD.replace(b'"a"', b'"b"')
    yield _case("shards-mixed", tree(SHARD, FILE_B), "a tree holds entries or shards")
    yield _case("shards-unsorted", tree(second, SHARD), "its names are not in order")
    yield _case("shards-equal", tree(SHARD, SHARD), "its names are not in order")
    yield _case("shard-count-0", tree(SHARD.replace(b'"2"', b'"0"'), second), "stands for nothing")
    yield _case("shard-count", tree(SHARD.replace(b'"2"', b'"-2"'), second), "is no number")
    yield _case("shard-first", tree(SHARD.replace(b'"a"', b'".."'), second), "cannot be the name of a file")
    yield _case("shard-id", tree(SHARD.replace(ID, b""), second), "not a chunk id")
    yield _case("shard-inside", tree(SHARD.replace(b"/>", b">") + FILE + b"</shard>\n", second), "unknown element")


def _records() -> Iterator[Case]:
    documents = {vector.file: vector.data for vector in golden.documents()}
    good, fence = documents["snapshot.xml"], documents["fence.xml"]

    def record(file: str, phrase: str, old: bytes, new: bytes, *, of: bytes = good) -> Case:
        assert old in of, (file, old)
        return Case(f"record-{file}.xml", "record", of.replace(old, new, 1), phrase)

    yield record("kind", "unknown kind", b'kind="snapshot"', b'kind="dream"')
    yield record("checkpoint-with-roots", "a checkpoint has no roots", b'kind="snapshot"', b'kind="checkpoint"')
    yield record("no-name", "lacks name in its place", b' name="before &quot;it&quot;"', b"")
    yield record("session", "not a session id", b'session="f0', b'session="F0')
    yield record("writer", "not a session id", b'writer="00', b'writer="')
    yield record("previous", "not a chunk id", b'previous="b5', b'previous="')
    yield record("sequence", "is more than", b'sequence="7"', b'sequence="18446744073709551616"')
    yield record("order", "out of order", b"<totals", b'<tag value="late"/>\n<totals')
    yield record("no-totals", "there are no totals", good[good.index(b"<totals") : good.index(b"</snapshot>")], b"")
    totals = good[good.index(b"<totals") : good.index(b"</snapshot>")]
    yield record("two-totals", "there are two totals", totals, totals * 2)
    yield record("totals-order", "lacks files in its place", b'files="1" directories="2"', b'directories="2" files="1"')
    yield record("unknown", "unknown or out of order", b"<totals", b'<verdict value="good"/>\n<totals')
    nested = b'<tag value="daily">\n<tag value="x"/>\n</tag>\n'
    yield record("tag-inside", "holds an element", b'<tag value="daily"/>\n', nested)
    yield record("tag-nothing", "lacks value in its place", b'<tag value="daily"/>', b"<tag/>")
    yield record("scope-name", "is no scope", b'scope name="packages"', b'scope name="../x"')
    yield record("index-size", "is no number", b'size="1234"', b'size="0x4d2"')
    relative = "a root needs an absolute path"
    yield record("root-relative", relative, b'path="/etc"', b'path="etc"')
    yield record("root-empty", relative, b'path="/etc"', b'path=""')
    yield record("root-slash", "cannot be the name", b'path="/etc"', b'path="/etc/"')
    yield record("root-dots", "cannot be the name", b'path="/etc"', b'path="/etc/.."')
    entry = good[good.index(b"<dir") : good.index(b"</root>")]
    yield record("root-two-entries", relative, entry, entry * 2)
    yield record("root-no-entry", "is not in canonical form", entry, b"")
    yield record("root-unknown-entry", "unknown element", b"<dir", b"<door")
    yield record("fence-inside", "holds an element", b"/>\n", b">\n<fence/>\n</fence>\n", of=fence)
    yield record("fence-session", "not a session id", b'session="f0', b'session="', of=fence)
    yield record("fence-attribute", "unknown or misplaced", b"/>", b' why="x"/>', of=fence)
    yield Case("record-tombstone.xml", "record", documents["forgotten.xml"], "does not begin with a snapshot")
