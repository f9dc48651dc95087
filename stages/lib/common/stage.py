#!/usr/bin/env python3
"""Run a stage or command: one writer at a time, errors in one line."""
import contextlib
import fcntl
import os
import sys

from stages.lib.common import errors, inputs, seals

LOCKS = "logs/locks"
PROJECT = os.path.abspath(os.path.join(os.path.dirname(__file__), *[".."] * 3))
TRACKED = ("data/prepared", "data/resized", "features", "models", "results")


def run(main, lock=None, finish=lambda: None):
    """Call `main`, then exit with status 0, or 1 and one line on stderr.

    A stage whose DVC was killed may still be writing.  The lock makes the
    next run of the same stage wait until it has ended.  A stage fails if its
    inputs changed meanwhile; what it wrote is sealed.  Unexpected errors keep
    their traceback.

    Args:
        main: function without arguments; it may return `known` for
            `seals.write`.
        lock: name of the stage to exclude; by default, of the running file.
        finish: called when the stage has ended well.
    """
    use_utf8(main)
    if not os.path.exists("params.yaml"):    # started from another folder
        os.chdir(PROJECT)
    name = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    try:
        file = main.__code__.co_filename
        inputs.begin(file)
        with _lock(lock or name):
            check_folders()
            seals.write(file, main())
            inputs.check(file)
            finish()
    except (errors.PipelineError, OSError) as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"{name}: interrupted; no incomplete file remains")


def check_folders():
    """Raise a StorageError if a folder of outs is a link: DVC refuses those.
    """
    for folder in filter(os.path.islink, TRACKED):
        raise errors.StorageError(
            f"{folder}: is a link, behind which DVC tracks no file; replace "
            "it by a folder (`dvc cache dir` moves the cache to another disk)")


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
        what = ["-m", spec.name] if spec else [sys.argv[0]]
        os.execv(sys.executable, [sys.executable, *what, *sys.argv[1:]])
    if hasattr(sys.stdout, "reconfigure"):    # as stderr's always are
        sys.stdout.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def idle(names):
    """Keep the stages `names` from running in the block.

    Raises:
        ArtefactError: one is running.
    """
    with contextlib.ExitStack() as locks:
        for name in names:
            lock = locks.enter_context(_lock_file(name))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise errors.ArtefactError(
                    f"{name} is running; repair when it has ended"
                    ) from error
        yield


def _lock_file(name):
    """Return the file, open, on which the lock of a stage is held."""
    os.makedirs(LOCKS, exist_ok=True)
    return open(f"{LOCKS}/{name}", "a", encoding="utf-8")


def _lock(name):
    """Return the open file that holds the lock of the stage `name`."""
    lock = _lock_file(name)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"{name}: waiting for another {name} to end", file=sys.stderr,
              flush=True)    # not into a command's --json
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock
