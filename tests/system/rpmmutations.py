"""The mutations of the root that `rpmroots` builds."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tests.system.mutations import (
    GENERATED,
    MISSING,
    SILENT,
    UNMANAGED,
    Mutation,
    access,
    acl_entry,
    additions,
    append,
    both,
    capability,
    changed,
    directory,
    fifo,
    files_below,
    flag,
    flip_byte,
    hard_link_to,
    link_to,
    mode,
    one,
    owner,
    remove,
    replace_by_copy,
    touch,
    truncate,
    write,
    xattr,
)

_DATA = b"/usr/share/alpha/data"


def prepare_rpm_root(root: bytes) -> None:
    """Nothing; the root has the directories that mutations add to, and no file's times are from this moment."""
    for name in (b"/srv", b"/opt", b"/usr/local/lib"):
        os.makedirs(root + name, exist_ok=True)


def rpm_mutations(root: bytes) -> tuple[Mutation, ...]:
    """All of them; what they name exists in the root."""
    return (
        *_contents(), *_metadata(), *_types(), *_deletions(root), *additions(), *_additions(), *_rpm(), *_nothing()
    )  # fmt: skip


def _contents() -> Iterator[Mutation]:
    content = changed("content")
    yield one("content, same size and times", _DATA + b"1", flip_byte, content)
    yield one("content appended", _DATA + b"2", append, content)
    yield one("file truncated to nothing", _DATA + b"3", truncate, content)
    yield one("empty file filled", b"/usr/share/alpha/empty", append, content)
    yield one("content replaced, new inode", _DATA + b"4", write(b"another\n"), content)
    yield one("name with a blank edited", b"/usr/share/alpha/with space", append, content)
    yield one("name with a quote edited", b"/usr/share/alpha/it's", append, content)
    yield one("name with a backslash edited", b"/usr/share/alpha/back\\slash", append, content)
    yield one("name beyond ASCII edited", "/usr/share/alpha/ünï".encode(), append, content)
    yield one("name that is no UTF-8 edited", b"/usr/share/alpha/\xffraw", append, content)
    yield one("documentation edited", b"/usr/share/doc/alpha/README", append, content)
    yield one("licence edited", b"/usr/share/licenses/alpha/LICENSE", append, content)
    yield one("configuration file edited", b"/etc/alpha/replaced.conf", append, content)
    yield one("noreplace configuration file edited", b"/etc/alpha/alpha.conf", flip_byte, content)
    names = (b"/usr/share/alpha/hard1", b"/usr/share/alpha/hard2", b"/usr/share/alpha/deep/hard3")
    yield Mutation(
        name="file with three names edited", make=lambda root: flip_byte(root + names[0]),
        expected=dict.fromkeys(names, content),
    )  # fmt: skip
    for name, hash_name in (("beta-md5", "MD5"), ("beta-sha1", "SHA-1"), ("beta-sha384", "SHA-384")):
        yield one(f"file with a digest by {hash_name} edited", b"/usr/share/%b-1/first" % name.encode(), flip_byte,
                  content)  # fmt: skip
    yield one("file with a digest by SHA-512 edited", b"/usr/share/beta-sha512-1/first", flip_byte, content)
    yield one("file with a digest by SHA-224 edited", b"/usr/share/beta-sha224-1/first", flip_byte, content)
    yield one("file of one of two versions edited", b"/usr/share/delta-5.1/first", append, content)
    yield one("file of a foreign architecture edited", b"/usr/share/epsilon-1/first", append, content)
    yield one("file that two packages ship edited", b"/usr/share/common/agreed", append, content)


def _metadata() -> Iterator[Mutation]:
    bits, ownership, attributes = changed("mode"), changed("owner"), changed("attributes")
    yield one("mode opened for all", _DATA + b"5", mode(0o666), bits)
    yield one("made executable", _DATA + b"6", mode(0o755), bits)
    yield one("setuid removed", b"/usr/bin/alpha-setuid", mode(0o755), bits)
    yield one("setuid added", b"/usr/bin/alpha-plain", mode(0o4755), bits)
    yield one("setgid removed", b"/usr/bin/alpha-setgid", mode(0o755), bits)
    yield one("sticky bit taken from a directory", b"/var/spool/alpha", mode(0o777), bits)
    yield one("directory opened for all", b"/etc/alpha/conf.d", mode(0o777), bits)
    yield one("owner with a name", _DATA + b"7", owner(1, -1), ownership)
    yield one("owner without a name", _DATA + b"8", owner(54321, -1), ownership)
    yield one("group", b"/etc/alpha/secret.conf", owner(-1, 60), ownership)
    yield one("owner of a directory", b"/usr/lib/alpha", owner(5, -1), ownership)
    yield one("owner of a link", b"/usr/share/alpha/relative", owner(1, -1), ownership)
    yield one("owner and mode at once", b"/etc/alpha/conf.d/1.conf",
              both(owner(1, 1), mode(0o600)), changed("mode", "owner"))  # fmt: skip
    yield one("user attribute", b"/etc/alpha/conf.d/2.conf", xattr(b"user.note", b"mine"), attributes)
    yield one("ACL", b"/etc/alpha/conf.d/3.conf", acl_entry, attributes)
    yield one("immutable", b"/etc/alpha/conf.d/4.conf", flag("i"), attributes)


def _types() -> Iterator[Mutation]:
    yield one("link leads elsewhere", b"/usr/share/alpha/absolute", link_to(b"/etc/shadow"), changed("target"))
    yield one("link replaced by a file", b"/usr/share/alpha/dangling", write(b"found\n"), changed("type"))
    yield one("link deleted", b"/usr/bin/alpha-link", remove, MISSING)
    yield one("file replaced by a link", b"/usr/share/delta-5.2/first", link_to(b"second"), changed("type"))
    yield one("file replaced by an empty directory", b"/usr/share/epsilon-1/second", directory, changed("type"))
    yield one("file replaced by a name of another", b"/usr/share/beta-md5-1/second", hard_link_to(b"first"),
              changed("content"), beside=(b"/usr/share/beta-md5-1/first",))  # fmt: skip
    yield one("file replaced by a named pipe", b"/usr/share/zeta-1/second",
              both(remove, fifo), changed("type"))  # fmt: skip


def _deletions(root: bytes) -> Iterator[Mutation]:
    yield one("file deleted", b"/usr/share/zeta-1/first", remove, MISSING)
    yield one("documentation deleted", b"/usr/share/doc/alpha/CHANGES", remove, MISSING)
    gone = files_below(root, b"/usr/share/eta-1")
    yield Mutation(
        name="directory deleted with all in it",
        make=lambda root: remove(root + b"/usr/share/eta-1"),
        expected=dict.fromkeys(gone, MISSING),
    )
    yield Mutation(
        name="file renamed",
        make=lambda root: os.rename(root + b"/usr/share/delta-5.1/second", root + b"/usr/share/delta-5.1/third"),
        expected={b"/usr/share/delta-5.1/second": MISSING, b"/usr/share/delta-5.1/third": UNMANAGED},
    )


def _additions() -> Iterator[Mutation]:
    yield one("new version beside a configuration file", b"/etc/alpha/alpha.conf.rpmnew", write(b"new\n"), UNMANAGED)
    yield one("saved version beside a configuration file", b"/etc/alpha/x.conf.rpmsave", write(b"old\n"), UNMANAGED)


def _rpm() -> Iterator[Mutation]:
    yield one("%verify(not md5) file edited", b"/var/lib/alpha/unverified", append, changed("content"))
    yield one("%config(missingok) file deleted", b"/etc/alpha/optional.conf", remove, MISSING)
    yield one("%ghost made", b"/var/lib/alpha/ghost.log", write(b"log\n", mode=0o600), GENERATED)
    yield one("file that another package replaced edited", b"/usr/share/common/shared", append, changed("content"))
    yield one("capability taken", b"/usr/bin/alpha-capable", capability(""), changed("capabilities"))
    yield one("capability added", b"/usr/lib/alpha/module", capability("cap_setuid=ep"), changed("capabilities"))


def _nothing() -> Iterator[Mutation]:
    yield one("touched", b"/usr/share/beta-sha1-1/second", touch, SILENT)
    yield one("read", b"/usr/share/beta-sha384-1/second", access, SILENT)
    yield one("replaced by an equal copy", b"/usr/share/beta-sha512-1/second", replace_by_copy, SILENT)
    yield one("link touched", b"/usr/share/alpha/directory", touch, SILENT)
    yield one("directory touched", b"/usr/share/alpha/deep", touch, SILENT)
