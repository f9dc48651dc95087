#!/usr/bin/env python3
"""A process that has only an exported file and the runtime of its format."""
import contextlib
import os
import subprocess
import sys
import tempfile
from multiprocessing import connection

from stages.lib.common import environment, errors, text
from stages.lib.fusing import runtimes

# -I: neither this folder nor PYTHONPATH is searched.
PROGRAM = ("import runpy, sys; "
           "runpy.run_path(sys.argv[1])['serve'](*sys.argv[2:])")


class Stranger:
    """Answers batches with the probabilities of a file; a context manager."""

    def __init__(self, kind):
        """Start the process, which imports the runtime.

        Args:
            kind: a key of `runtimes.FORMATS`.
        """
        self._log, self._path = tempfile.TemporaryFile(), None
        python = (environment.ONNX_PYTHON if kind == "onnx"
                  else sys.executable)
        self._process = subprocess.Popen(
            [python, "-I", "-c", PROGRAM, runtimes.__file__, kind],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
            cwd=tempfile.gettempdir())
        self._questions = connection.Connection(
            os.dup(self._process.stdin.fileno()), readable=False)
        self._answers = connection.Connection(
            os.dup(self._process.stdout.fileno()), writable=False)
        self._process.stdin.close()
        self._process.stdout.close()

    def __enter__(self):
        """Return this object."""
        return self

    def __exit__(self, *_):
        """End the process."""
        self._questions.close()
        self._answers.close()
        self._process.wait()
        self._log.close()

    def open(self, path):
        """Let the process load a file, or a folder; return this object."""
        self._path = path
        with contextlib.suppress(OSError):    # `probabilities` says why
            self._questions.send(os.path.abspath(path))
        return self

    def probabilities(self, pixels):
        """Return the output for a batch, float32 (n, classes).

        Args:
            pixels: float32 (n, h, w, 3), 0..255.

        Raises:
            ParityError: the process ended; with its last line.
        """
        try:
            self._questions.send(pixels)
            return self._answers.recv()
        except (OSError, EOFError) as error:
            self._process.wait()
            self._log.seek(0)
            lines = self._log.read().decode(errors="replace").split("\n")
            said = [line.strip() for line in lines if line.strip()]
            raise errors.ParityError(
                f"{self._path}: it cannot be loaded, or computes nothing "
                f"({text.escaped(said[-1]) if said else 'without a reason'})"
                ) from error
