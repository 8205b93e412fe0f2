"""Facts about the machine that figures depend on."""

from __future__ import annotations

import os
import platform


def facts(work: bytes) -> dict[str, str]:
    """Processor, cores, memory, kernel, distribution, Python, and the file system that holds `work`."""
    return {
        "processor": _field("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(_field('/proc/meminfo', 'MemTotal').split()[0]) * 1024 / 1e9:.1f} GB",
        "kernel": platform.release(),
        "distribution": _distribution(),
        "python": platform.python_version(),
        "file system": file_system(work),
    }


def file_system(path: bytes) -> str:
    """The type of the file system that holds `path`, from the longest mount point above it (proc_pid_mountinfo(5))."""
    real = os.path.realpath(path)
    best, kind = b"", b"unknown"
    with open("/proc/self/mountinfo", "rb") as stream:
        for line in stream:
            before, _, after = line.partition(b" - ")
            point = before.split()[4].replace(b"\\040", b" ")
            below = real == point or real.startswith(point.rstrip(b"/") + b"/")
            # A later mount on the same point hides the earlier one.
            if below and len(point) >= len(best):
                best, kind = point, after.split()[0]
    return os.fsdecode(kind)


def room(path: bytes) -> int:
    """Bytes that can be written below `path`: free space, and for tmpfs no more than the memory that is left."""
    status = os.statvfs(path)
    free = status.f_bavail * status.f_frsize
    if file_system(path) == "tmpfs":
        available = int(_field("/proc/meminfo", "MemAvailable").split()[0]) * 1024
        # The tools and this process need memory of their own.
        return max(0, min(free, available - (2 << 30)))
    return free


def _field(path: str, name: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as stream:
        for line in stream:
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return ""


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    except OSError:
        return "unknown"
