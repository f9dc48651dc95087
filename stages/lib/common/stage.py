#!/usr/bin/env python3
"""Run a stage or command: one writer at a time, errors in one line."""
import fcntl
import os
import sys

from stages.lib.common import errors

LOCKS = "logs/locks"


def run(main, lock=None):
    """Call `main`, then exit with status 0, or 1 and one line on stderr.

    A stage whose DVC was killed may still be writing.  The lock makes the
    next run of the same stage wait until it has ended.  Unexpected errors
    keep their traceback.

    Args:
        main: function without arguments.
        lock: name of the stage to exclude; by default, of the running file.
    """
    use_utf8(main)
    name = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    try:
        with _lock(lock or name):
            main()
    except (errors.PipelineError, OSError) as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"{name}: interrupted; no incomplete file remains")


def use_utf8(main):
    """Make names of files independent of the locale, output printable.

    Where names of files are not UTF-8, the process starts again in Python's
    UTF-8 mode; its output keeps the locale's encoding.  What that lacks is
    printed as escapes.

    Args:
        main: a function of the running file.
    """
    if (sys.getfilesystemencoding() != "utf-8"
            and os.environ.get("PYTHONUTF8") != "1"):
        os.environ["PYTHONUTF8"] = "1"
        os.environ.setdefault("PYTHONIOENCODING", getattr(
            sys.stdout, "encoding", None) or "ascii")
        spec = sys.modules[main.__module__].__spec__
        os.execv(sys.executable,
                 [sys.executable, "-m", spec.name, *sys.argv[1:]])
    if hasattr(sys.stdout, "reconfigure"):    # as stderr's always are
        sys.stdout.reconfigure(errors="backslashreplace")


def _lock(name):
    """Return the open file that holds the lock of the stage `name`."""
    os.makedirs(LOCKS, exist_ok=True)
    lock = open(f"{LOCKS}/{name}", "a", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"{name}: waiting for another {name} to end", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock
