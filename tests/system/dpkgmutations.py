"""The mutations of Debian roots that were made by the recipes of `roots`: bookworm and trixie alike."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator

from tests.system.mutations import (
    EXCLUDED,
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
    device,
    directory,
    fifo,
    files_below,
    flag,
    flip_byte,
    hard_link_to,
    link_to,
    make_sparse,
    mode,
    one,
    owner,
    remove,
    replace_by_copy,
    step,
    touch,
    tree,
    truncate,
    write,
    xattr,
)

_DATABASES = (
    b"/var/lib/dpkg/statoverride", b"/var/lib/dpkg/statoverride-old", b"/var/lib/dpkg/diversions",
    b"/var/lib/dpkg/diversions-old", b"/var/lib/dpkg/alternatives/probe-choice", b"/var/log/alternatives.log",
)  # fmt: skip
_ACCOUNTS = tuple(
    b"/etc/" + name + end
    for name in (b"passwd", b"group", b"shadow", b"gshadow", b"subuid", b"subgid")
    for end in (b"", b"-")
)


def dpkg_mutations(root: bytes) -> tuple[Mutation, ...]:
    """All of them; what they name exists in the root."""
    return (
        *_contents(root), *_metadata(), *_types(), *_links(), *_deletions(root), *additions(), *_additions(),
        *_dpkg(root), *_decisions(), *_nothing(),
    )  # fmt: skip


def triplet(root: bytes) -> bytes:
    """The name of the directory of architecture-dependent libraries, such as x86_64-linux-gnu."""
    with os.scandir(root + b"/usr/lib") as entries:
        return next(each.name for each in entries if each.name.endswith((b"-linux-gnu", b"-linux-gnueabihf")))


def _contents(root: bytes) -> Iterator[Mutation]:
    content = changed("content")
    libraries = b"/usr/lib/" + triplet(root)
    yield one("content, same size and times", b"/usr/bin/tac", flip_byte, content)
    yield one("content of a long program", b"/usr/bin/bash", flip_byte, content)
    yield one("content appended", b"/usr/bin/comm", append, content)
    yield one("file truncated to nothing", b"/usr/bin/paste", truncate, content)
    yield one("content replaced, new inode", b"/usr/bin/fold", write(b"#!/bin/sh\nexec id\n", mode=0o755), content)
    yield one("documentation edited", b"/usr/share/doc/cron/copyright", append, content)
    yield one("file with several owners' architectures", libraries + b"/libutil.so.1", flip_byte, content)
    yield one("edited through /lib, packaged below it", b"/usr/lib/systemd/system/cron.service", append, content)
    yield Mutation(
        name="edited by the other name of a merged directory",
        make=lambda root: append(root + b"/bin/join"),
        expected={b"/usr/bin/join": content},
    )
    yield one("name with blanks edited", b"/usr/lib/probe/name with  blanks", append, content)
    yield one("name that is no UTF-8 edited", b"/usr/lib/probe/odd-\xff", append, content)
    yield one("file below a deep directory", b"/usr/lib/probe/deep/er/file", flip_byte, content)


def _metadata() -> Iterator[Mutation]:
    bits, ownership, attributes = changed("mode"), changed("owner"), changed("attributes")
    yield one("mode opened for all", b"/usr/bin/nl", mode(0o777), bits)
    yield one("mode closed", b"/usr/bin/od", mode(0o700), bits)
    yield one("setuid added", b"/usr/bin/pr", mode(0o4755), bits)
    yield one("setgid added", b"/usr/bin/shuf", mode(0o2755), bits)
    yield one("setuid removed", b"/usr/bin/newgrp", mode(0o755), bits)
    yield one("setuid file made writable", b"/usr/bin/chfn", mode(0o4777), bits)
    yield one("sticky file", b"/usr/bin/tsort", mode(0o1755), bits)
    yield one("sticky directory", b"/usr/share/nginx", mode(0o1755), bits)
    yield one("directory opened for all", b"/usr/src", mode(0o777), bits)
    yield one("directory closed", b"/usr/share/perl5", mode(0o700), bits)
    yield one("sticky bit taken from /var/tmp", b"/var/tmp", mode(0o777), bits)
    yield one("configuration file opened for all", b"/etc/sudoers", mode(0o666), bits)
    yield one("owner with a name", b"/usr/bin/unexpand", owner(1, -1), ownership)
    yield one("owner without a name", b"/usr/bin/fmt", owner(54321, -1), ownership)
    yield one("group", b"/usr/bin/factor", owner(-1, 4), ownership)
    yield one("owner of a directory", b"/usr/games", owner(1, 1), ownership)
    yield one("owner of a link", b"/usr/bin/pidof", owner(1, -1), ownership)
    yield one("owner and mode at once", b"/usr/bin/chage", both(owner(1, -1), mode(0o755)),
              changed("mode", "owner"))  # fmt: skip
    yield one("content and mode at once", b"/usr/bin/csplit", both(append, mode(0o775)),
              changed("content", "mode"))  # fmt: skip
    yield one("capability added", b"/usr/bin/split", capability("cap_net_raw,cap_setuid=ep"), changed("capabilities"))
    yield one("user attribute", b"/usr/bin/ptx", xattr(b"user.note", b"mine"), attributes)
    yield one("trusted attribute", b"/usr/bin/logname", xattr(b"trusted.note", b"mine"), attributes)
    yield one("attribute of a directory", b"/usr/share/bash-completion", xattr(b"user.note", b"mine"), attributes)
    yield one("ACL", b"/etc/login.defs", acl_entry, attributes)
    yield one("immutable", b"/usr/bin/users", flag("i"), attributes)
    yield one("append-only", b"/usr/bin/pinky", flag("a"), attributes)


def _types() -> Iterator[Mutation]:
    kind = changed("type")
    yield one("file replaced by a link", b"/usr/bin/printenv", link_to(b"nproc"), kind)
    yield one("file replaced by a link to its own copy", b"/usr/bin/numfmt", _moved_and_linked(b".orig"), kind,
              beside=(b"/usr/bin/numfmt.orig",))  # fmt: skip
    yield one("file replaced by an empty directory", b"/usr/bin/dircolors", directory, kind)
    yield one("file replaced by a named pipe", b"/usr/bin/sum", both(remove, fifo), kind)
    yield one("file replaced by a device", b"/usr/bin/cksum", both(remove, device), kind)
    yield one("configuration file linked to /dev/null", b"/etc/default/cron", link_to(b"/dev/null"), kind)


def _moved_and_linked(end: bytes) -> Callable[[bytes], None]:
    def make(path: bytes) -> None:
        os.rename(path, path + end)
        os.symlink(os.path.basename(path) + end, path)

    return make


def _links() -> Iterator[Mutation]:
    yield one("link leads elsewhere", b"/usr/bin/sg", link_to(b"/usr/local/bin/sg"), changed("target"))
    yield one("link that dangles", b"/usr/share/zoneinfo/UTC", link_to(b"nowhere"), changed("target"))
    yield one("link out of the tree", b"/usr/lib/probe/program", link_to(b"/../../../etc/shadow"), changed("target"))
    yield one("link deleted", b"/usr/bin/probe-link", remove, MISSING)
    yield one("one of two names of a file replaced", b"/usr/lib/probe/twin-b", write(b"another\n"), changed("content"))
    yield one(
        "file replaced by a name of another", b"/usr/lib/probe/alone", hard_link_to(b"twin-a"), changed("content")
    )
    yield one("new name of a packaged file", b"/usr/bin/uname-again", hard_link_to(b"uname"), UNMANAGED)


def _deletions(root: bytes) -> Iterator[Mutation]:
    yield one("file deleted", b"/usr/bin/tee", remove, MISSING)
    yield one("documentation deleted", b"/usr/share/doc/sudo/copyright", remove, MISSING)
    yield one("empty directory deleted", b"/var/lib/probe/empty", remove, MISSING)
    yield one("configuration file deleted", b"/etc/probe/deleted.conf", remove, MISSING)
    gone = files_below(root, b"/usr/share/doc/grep")
    yield Mutation(
        name="directory deleted with all in it",
        make=lambda root: remove(root + b"/usr/share/doc/grep"),
        expected=dict.fromkeys(gone, MISSING),
    )
    below = files_below(root, b"/usr/share/doc/sed")[1:]
    yield Mutation(
        name="directory replaced by a file",
        make=lambda root: write(b"no directory\n")(root + b"/usr/share/doc/sed"),
        expected={b"/usr/share/doc/sed": changed("type"), **dict.fromkeys(below, MISSING)},
    )
    yield Mutation(
        name="directory replaced by an empty one",
        make=lambda root: directory(root + b"/usr/share/doc/gzip"),
        expected=dict.fromkeys(files_below(root, b"/usr/share/doc/gzip")[1:], MISSING),
    )
    yield Mutation(
        name="file renamed",
        make=lambda root: os.rename(root + b"/usr/lib/probe/two", root + b"/usr/lib/probe/zwei"),
        expected={b"/usr/lib/probe/two": MISSING, b"/usr/lib/probe/zwei": UNMANAGED},
    )

    def swap(root: bytes) -> None:
        first, second = root + b"/usr/share/probe/lists/1", root + b"/usr/share/probe/lists/2"
        os.rename(first, first + b".away")
        os.rename(second, first)
        os.rename(first + b".away", second)

    content = changed("content")
    yield Mutation(
        name="two files swapped",
        make=swap,
        expected={b"/usr/share/probe/lists/1": content, b"/usr/share/probe/lists/2": content},
    )

    def moved(root: bytes) -> None:
        # An overlay file system does not rename directories, so that this may be a copy; all in it is root's.
        shutil.move(os.fsdecode(root + b"/usr/share/doc/tar"), os.fsdecode(root + b"/usr/share/doc/tar-moved"))
        os.symlink(b"tar-moved", root + b"/usr/share/doc/tar")

    # What the package ships is still found by its own names, as dpkg finds it: only the directory is another thing.
    yield Mutation(
        name="directory replaced by a link to where it went", make=moved,
        expected={b"/usr/share/doc/tar": changed("type")}, beside=(b"/usr/share/doc/tar-moved",),
    )  # fmt: skip


def _additions() -> Iterator[Mutation]:
    yield one("file in root's home", b"/root/.authorized", write(b"ssh-ed25519 AAAA\n"), UNMANAGED)
    yield tree("home directory", b"/home/somebody", UNMANAGED, {b".profile": b"", b"notes": b"mine"})
    yield one("cron job", b"/etc/cron.d/mine", write(b"* * * * * root true\n"), UNMANAGED)
    yield one("package source", b"/etc/apt/sources.list.d/mine.list", write(b"# none\n"), UNMANAGED)
    yield one("unit", b"/etc/systemd/system/mine.service", write(b"[Service]\n"), UNMANAGED)
    yield one("unit masked", b"/etc/systemd/system/nginx.service", link_to(b"/dev/null"), UNMANAGED)
    yield tree("drop-in", b"/etc/systemd/system/cron.service.d", UNMANAGED, {b"mine.conf": b"[Service]\nNice=5\n"})
    yield one("old copy beside a configuration file", b"/etc/crontab.bak", write(b"old\n"), UNMANAGED)
    yield one("preloaded library", b"/etc/ld.so.preload", write(b"/usr/lib/evil.so\n"), UNMANAGED)
    yield one("file in an excluded directory", b"/var/tmp/scratch", write(b"1"), EXCLUDED)


def _dpkg(root: bytes) -> Iterator[Mutation]:
    content = changed("content")
    yield one("configuration file edited", b"/etc/crontab", append, content)
    yield one("configuration file edited, same size and times", b"/etc/nginx/nginx.conf", flip_byte, content)
    yield one("obsolete configuration file edited", b"/etc/probe/dropped.conf", append,
              changed("content", "obsolete"))  # fmt: skip
    yield one("configuration file of ucf edited", b"/etc/ssh/sshd_config", append, content)
    yield one("configuration file of a removed package edited", b"/etc/probe-gone.conf", append,
              changed("content", "obsolete"))  # fmt: skip
    yield one("diverted file edited", b"/usr/bin/probe-tool.distrib", append, content)
    yield one("diverting file edited", b"/usr/bin/probe-tool", append, content)
    yield one("target of a local diversion deleted", b"/usr/lib/probe/diverted.away", remove, MISSING)
    yield one("put where a local diversion made room", b"/usr/lib/probe/diverted", write(b"mine\n"), UNMANAGED)
    yield one("overridden mode undone", b"/usr/lib/probe/overridden", mode(0o644), changed("mode"))
    yield one("capability changed", b"/usr/bin/ping", capability("cap_net_raw,cap_sys_admin=ep"),
              changed("capabilities"))  # fmt: skip
    yield one("new version beside an edited file", b"/etc/probe/plain.conf.dpkg-dist", write(b"new\n"), _LEFT)
    yield one("old version beside a replaced file", b"/etc/probe/plain.conf.dpkg-old", write(b"old\n"), _LEFT)
    yield one("library replaced by a link to another", b"/usr/lib/" + triplet(root) + b"/libBrokenLocale.so.1",
              link_to(b"/opt/other.so"), changed("type"))  # fmt: skip


_LEFT = UNMANAGED


def _decisions() -> Iterator[Mutation]:
    """What an administrator tells dpkg changes what is as it should be, and what other scopes report."""
    yield step(
        "owner and mode set by the administrator",
        "dpkg-statoverride --update --add root adm 0750 /usr/bin/w",
        {b"/usr/bin/w": SILENT}, beside=_DATABASES,
    )  # fmt: skip
    yield step(
        "file diverted by the administrator",
        "dpkg-divert --local --rename --divert /usr/bin/free.real --add /usr/bin/free",
        {b"/usr/bin/free": SILENT, b"/usr/bin/free.real": SILENT}, beside=_DATABASES,
    )  # fmt: skip
    yield step(
        "alternative chosen by hand",
        "update-alternatives --set probe-choice /usr/lib/probe/one",
        {b"/etc/alternatives/probe-choice": UNMANAGED}, beside=_DATABASES,
    )  # fmt: skip
    yield step(
        "user added",
        "useradd --no-create-home --shell /usr/sbin/nologin somebody-new",
        {b"/etc/passwd": GENERATED}, beside=_ACCOUNTS,
    )  # fmt: skip
    yield one("generated file edited", b"/etc/ld.so.cache", append, GENERATED)
    yield one("log written", b"/var/log/mine.log", write(b"1\n"), GENERATED)


def _nothing() -> Iterator[Mutation]:
    """What is no change, and must not be reported."""
    yield one("touched", b"/usr/bin/env", touch, SILENT)
    yield one("read", b"/usr/bin/expr", access, SILENT)
    yield one("replaced by an equal copy", b"/usr/bin/seq", replace_by_copy, SILENT)
    yield one("zeros made a hole", b"/usr/lib/probe/zeros", make_sparse, SILENT)
    yield one("directory touched", b"/usr/share/doc", touch, SILENT)
    yield one("configuration file touched", b"/etc/probe/kept.conf", touch, SILENT)


def referenced_mutations() -> tuple[Mutation, ...]:
    """What dpkg's database has nothing to compare with, so that it can be seen only with the package files at hand."""

    def backdate(root: bytes) -> None:
        path = root + b"/usr/share/zoneinfo/GMT0"
        status = os.lstat(path)
        link_to(b"Etc/UTC")(path)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)

    return (
        one("made executable", b"/usr/share/doc/coreutils/copyright", mode(0o755), changed("mode")),
        one("no longer executable", b"/usr/bin/yes", mode(0o644), changed("mode")),
        Mutation(
            name="link leads elsewhere, times put back", make=backdate,
            expected={b"/usr/share/zoneinfo/GMT0": changed("target")},
        ),
        one("link replaced by a file", b"/usr/share/zoneinfo/GMT-0", write(b"TZif"), changed("type")),
        one("link touched", b"/usr/share/zoneinfo/Egypt", touch, SILENT),
    )  # fmt: skip
