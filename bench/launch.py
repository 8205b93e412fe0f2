"""Starts one command and writes what it cost to a pipe: `launch.py FD OUTPUT ERRORS PROGRAM [ARGUMENT…]`.

The kernel hands the peak memory of the process that forks on to the process that it starts, across the exec. A harness
that has just made a corpus would show up in every figure; this launcher imports three modules and peaks near 10 MB,
which is the smallest peak that can be reported. The line written is "wall-ns user-s system-s peak-KiB wait-status", or
"! reason" where the command could not be started. Source: getrusage(2), wait4(2).
"""

import os
import sys
import time


def main() -> None:
    """Run the command of `sys.argv` to its end and report it."""
    report, output, errors, *argv = sys.argv[1:]
    pipe = int(report)
    os.set_inheritable(pipe, False)
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, output, append, 0o600),
        (os.POSIX_SPAWN_OPEN, 2, errors, append, 0o600),
    ]
    started = time.monotonic_ns()
    try:
        pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions)
    except OSError as error:
        os.write(pipe, os.fsencode(f"! {os.path.basename(argv[0])}: {error.strerror}\n"))
        return
    _, status, usage = os.wait4(pid, 0)
    wall = time.monotonic_ns() - started
    os.write(pipe, f"{wall} {usage.ru_utime} {usage.ru_stime} {usage.ru_maxrss} {status}\n".encode())


if __name__ == "__main__":
    main()
