#!/usr/bin/env python3
"""A process in which no model has been built.

It starts before the calling process builds a model.  On Linux it is forked,
so that TensorFlow is not imported twice.  That is safe only while TensorFlow
has not started threads; otherwise, and elsewhere, a new interpreter starts.
"""
import contextlib
import multiprocessing

from stages.lib.common import errors, keras_runtime


class FreshProcess:
    """Runs one function in a process of its own; a context manager."""

    def __init__(self, function):
        """Start the process.

        Args:
            function: of a module, with plain arguments and result.
        """
        idle = keras_runtime.threads() == keras_runtime.IDLE_THREADS
        kind = "fork" if idle and keras_runtime.IDLE_THREADS else "spawn"
        context = multiprocessing.get_context(kind)
        self._ours, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(function, self._ours, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self):
        """Return this object."""
        return self

    def __exit__(self, *_):
        """End the process."""
        self._ours.close()
        self._process.join()

    def call(self, *arguments):
        """Return `function(*arguments)`, computed in the process.

        Raises:
            PipelineError, OSError: as `function`.
            ParityError: the process ended without a result.
        """
        self._ours.send(arguments)
        try:
            result = self._ours.recv()
        except EOFError:
            self._process.join()
            raise errors.ParityError(
                "the process that reloads the model ended with exit code "
                f"{self._process.exitcode}") from None
        if isinstance(result, Exception):
            raise result
        return result


def _serve(function, ours, theirs):
    """Answer one call; end if the other process ends.

    Args:
        function: to be called.
        ours: the other end of the pipe; closed here, so that this process
            notices when the other one ends.
        theirs: the end to use here.
    """
    ours.close()
    try:
        arguments = theirs.recv()
    except EOFError:
        return
    try:
        result = function(*arguments)
    except (errors.PipelineError, OSError) as error:
        result = error
    with contextlib.suppress(BrokenPipeError):    # the other process ended
        theirs.send(result)
