#!/usr/bin/env python3
"""Call a function on many items on all cores; results keep their order."""
import contextlib
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

CORES = os.cpu_count()
AHEAD = 1    # finished results per core that may wait in memory


def ordered(function, items, workers=None):
    """Yield `function(item)` for each item, in the order of `items`.

    Threads are enough where the function releases Python's lock, as Pillow,
    hashlib and TensorFlow do.

    Args:
        function: called with one item.
        items: any iterable.
        workers: number of threads; by default, one a core.
    """
    workers = workers or CORES
    with ThreadPoolExecutor(workers) as pool:
        waiting = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class MemoryBudget:
    """Memory that threads share: who finds too little left waits."""

    def __init__(self, size):
        """Allow `size` bytes in total."""
        self._size, self._taken = size, 0
        self._returned = threading.Condition()

    @contextlib.contextmanager
    def take(self, need):
        """Wait for `need` bytes, which are returned after the block.

        More than the total is given to a thread that is alone.
        """
        with self._returned:
            self._returned.wait_for(lambda: not self._taken or (
                self._taken + need <= self._size))
            self._taken += need
        try:
            yield
        finally:
            with self._returned:
                self._taken -= need
                self._returned.notify_all()
