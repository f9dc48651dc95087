#!/usr/bin/env python3
"""Hide what libraries print from C++.

`engines/tflite.py` has its own: its bytes are part of the cache's key.
"""
import contextlib
import os
import sys


@contextlib.contextmanager
def errors_hidden():
    """Hide the standard error of this process in the block."""
    sys.stderr.flush()
    saved, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)
