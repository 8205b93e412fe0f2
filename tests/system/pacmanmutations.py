"""The mutations of the root that `pacmanroots` builds."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tests.system.mutations import (
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

_DATA = b"/usr/share/demo/data%02d.txt"


def prepare_pacman_root(root: bytes) -> None:
    """Nothing; the root has the directories that mutations add to."""
    os.makedirs(root + b"/usr/local/lib", exist_ok=True)


def pacman_mutations(root: bytes) -> tuple[Mutation, ...]:
    """All of them; what they name exists in the root."""
    return (*_contents(), *_metadata(), *_types(), *_deletions(root), *additions(), *_additions(), *_nothing())


def _contents() -> Iterator[Mutation]:
    content = changed("content")
    yield one("content, same size and times", _DATA % 0, flip_byte, content)
    yield one("content of a library", b"/usr/lib/libdemo.so.1.2", flip_byte, content)
    yield one("content appended", _DATA % 1, append, content)
    yield one("file truncated to nothing", _DATA % 2, truncate, content)
    yield one("empty file filled", b"/etc/empty", append, content)
    yield one("content replaced, new inode", _DATA % 3, write(b"data 9\n"), content)
    yield one("backup file edited", b"/etc/hosts", append, content)
    yield one("backup file edited, same size and times", b"/etc/demo/main.conf", flip_byte, content)
    yield one("name with blanks edited", b"/usr/share/names/a b  c", append, content)
    yield one("name beyond ASCII edited", "/usr/share/names/grün".encode(), append, content)
    yield one("name with a backslash edited", b"/usr/share/names/back\\slash", append, content)
    yield one("name like a comment edited", b"/usr/share/names/#hash=1", append, content)
    yield one("name with wildcards edited", b"/usr/share/names/ *?[x]", append, content)
    both = (b"/usr/bin/tool", b"/usr/bin/twin")
    yield Mutation(
        name="file with two names edited", make=lambda root: flip_byte(root + both[0]),
        expected=dict.fromkeys(both, content),
    )  # fmt: skip
    yield Mutation(
        name="edited by the other name of a merged directory",
        make=lambda root: append(root + b"/bin/private"),
        expected={b"/usr/bin/private": content},
    )
    unwanted = b"/usr/share/locale/de"

    def put(root: bytes) -> None:
        os.makedirs(root + unwanted)
        write(b"mine\n")(root + unwanted + b"/demo.mo")

    # The directory is what the package would have made of it; only the file in it is another one.
    yield Mutation(
        name="put where nothing is to be extracted", make=put,
        expected={unwanted: SILENT, unwanted + b"/demo.mo": content},
    )  # fmt: skip


def _metadata() -> Iterator[Mutation]:
    bits, ownership, attributes = changed("mode"), changed("owner"), changed("attributes")
    yield one("mode opened for all", _DATA % 4, mode(0o666), bits)
    yield one("made executable", _DATA % 5, mode(0o755), bits)
    yield one("setuid removed", b"/usr/bin/sutool", mode(0o755), bits)
    yield one("setuid added", _DATA % 6, mode(0o4644), bits)
    yield one("setgid removed", b"/usr/bin/sgtool", mode(0o755), bits)
    yield one("sticky bit taken from /tmp", b"/tmp", mode(0o777), bits)
    yield one("directory opened for all", b"/etc/demo/conf.d", mode(0o777), bits)
    yield one("setgid taken from a directory", b"/var/mail", mode(0o775), bits)
    yield one("owner without a name", _DATA % 7, owner(54321, -1), ownership)
    yield one("group", _DATA % 8, owner(-1, 60), ownership)
    yield one("owner of a directory", b"/var/empty", owner(5, -1), ownership)
    yield one("owner of a link", b"/usr/bin/alias", owner(1, -1), ownership)
    yield one("owner and mode at once", b"/etc/demo/secret.conf",
              both(owner(0, 0), mode(0o644)), changed("mode", "owner"))  # fmt: skip
    yield one("capability added", _DATA % 9, capability("cap_setuid=ep"), changed("capabilities"))
    yield one("user attribute", _DATA % 10, xattr(b"user.note", b"mine"), attributes)
    yield one("ACL", _DATA % 11, acl_entry, attributes)
    yield one("immutable", _DATA % 12, flag("i"), attributes)


def _types() -> Iterator[Mutation]:
    yield one("link leads elsewhere", b"/usr/lib/libdemo.so", link_to(b"/etc/shadow"), changed("target"))
    yield one("link replaced by a file", b"/usr/lib/dangling", write(b"found\n"), changed("type"))
    yield one("link deleted", b"/usr/share/names/to blank", remove, MISSING)
    yield one("file replaced by a link", _DATA % 13, link_to(b"data14.txt"), changed("type"))
    yield one("file replaced by an empty directory", _DATA % 14, directory, changed("type"))
    yield one("file replaced by a name of another", _DATA % 15, hard_link_to(b"data16.txt"), changed("content"))
    yield one("file replaced by a named pipe", _DATA % 17, both(remove, fifo), changed("type"))


def _deletions(root: bytes) -> Iterator[Mutation]:
    yield one("file deleted", _DATA % 18, remove, MISSING)
    yield one("backup file deleted", b"/etc/fstab", remove, MISSING)
    yield one("empty directory deleted", b"/usr/share/demo/nothing", remove, MISSING)
    gone = files_below(root, b"/usr/share/names/a")
    yield Mutation(
        name="directory deleted with all in it",
        make=lambda root: remove(root + b"/usr/share/names/a"),
        expected=dict.fromkeys(gone, MISSING),
    )
    yield Mutation(
        name="file renamed",
        make=lambda root: os.rename(root + _DATA % 19, root + b"/usr/share/demo/other"),
        expected={_DATA % 19: MISSING, b"/usr/share/demo/other": UNMANAGED},
    )


def _additions() -> Iterator[Mutation]:
    yield one("file in root's home", b"/root/.authorized", write(b"ssh-ed25519 AAAA\n"), UNMANAGED)
    yield one("new version beside a backup file", b"/etc/demo/main.conf.pacnew", write(b"new\n"), UNMANAGED)
    yield one("saved version beside a backup file", b"/etc/demo/x.conf.pacsave", write(b"old\n"), UNMANAGED)


def _nothing() -> Iterator[Mutation]:
    yield one("touched", _DATA % 20, touch, SILENT)
    yield one("read", _DATA % 21, access, SILENT)
    yield one("replaced by an equal copy", _DATA % 22, replace_by_copy, SILENT)
    yield one("link touched", b"/usr/lib/libdemo.so.1", touch, SILENT)
    yield one("directory touched", b"/usr/share/demo", touch, SILENT)
