"""A system that reads and writes a few bytes at a time and interrupts every other call: nothing is lost or doubled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from shutil import which

import pytest

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static unsigned long calls;

static int interrupted(void) {
    if (++calls % 2 != 0) return 0;
    errno = EINTR;
    return 1;
}

/* Passes on 1 to 7 bytes of what was asked for, across the parts. */
static int cut(struct iovec *into, const struct iovec *parts, int count) {
    size_t left = 1 + calls % 7;
    int used = 0;
    for (; used < count && used < 16 && left > 0; used++) {
        into[used] = parts[used];
        if (into[used].iov_len > left) into[used].iov_len = left;
        left -= into[used].iov_len;
    }
    return used;
}

#define VECTOR(name)                                                                    \
    ssize_t name(int fd, const struct iovec *parts, int count, off_t offset) {          \
        ssize_t (*real)(int, const struct iovec *, int, off_t) = dlsym(RTLD_NEXT, #name); \
        struct iovec some[16];                                                          \
        if (interrupted()) return -1;                                                   \
        return real(fd, some, cut(some, parts, count), offset);                         \
    }
VECTOR(preadv)
VECTOR(preadv64)
VECTOR(pwritev)
VECTOR(pwritev64)

#define PLAIN(name)                                                                     \
    ssize_t name(int fd, const void *data, size_t size, off_t offset) {                 \
        ssize_t (*real)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, #name);    \
        if (interrupted()) return -1;                                                   \
        return real(fd, data, size > 5 ? 5 : size, offset);                             \
    }
PLAIN(pwrite)
PLAIN(pwrite64)

unsigned long shim_calls(void) { return calls; }
"""

SCRIPT = """
import ctypes, os, random, sys
from snapstore.kernel import ENTRY, KEEP_ID, RESULT, SEGMENT, WRITE, load

chosen = load(sys.argv[1])
fd = os.open(sys.argv[2], os.O_RDONLY)
data = random.Random(3).randbytes(4000)
parts = [(0, 0, 1000), (0, 500, 0), (0, 3, 1), (0, 990, 3010), *[(0, i, i % 9) for i in range(200)]]
content = b"".join(data[start : start + length] for _, start, length in parts)
segments = b"".join(SEGMENT.pack(*part) for part in parts)
spec = WRITE.pack(10**9, 0, 0o600, KEEP_ID, KEEP_ID, 0, len(parts))
assert chosen.write_files(fd, b"a\\0b\\0", spec * 2, segments, [data]) == bytes(16)
names, records, _, _ = chosen.scan_directory(fd)
assert names == b"a\\0b\\0"
assert [entry[1] for entry in ENTRY.iter_unpack(records)] == [len(content)] * 2
buffer = bytearray(2 * len(content))
results = list(RESULT.iter_unpack(chosen.read_files(fd, names, records, buffer, 0)))
assert [result[2] for result in results] == [0, 0], results
assert buffer == content * 2
assert ctypes.CDLL(None).shim_calls() > 1000
print("as it should be")
"""


@pytest.mark.skipif(which("gcc") is None, reason="the shim has to be compiled")
@pytest.mark.parametrize("name", ["native", "reference"])
def test_short_and_interrupted_calls(name: str, tmp_path: Path) -> None:
    (tmp_path / "shim.c").write_text(SHIM)
    shim = str(tmp_path / "shim.so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", shim, str(tmp_path / "shim.c"), "-ldl"], check=True)
    target = tmp_path / "files"
    target.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, name, str(target)],
        env={**os.environ, "LD_PRELOAD": shim},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("as it should be", "")
