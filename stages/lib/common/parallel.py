#!/usr/bin/env python3
"""Call a function on many items on all cores; results keep their order."""
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor

CORES = os.cpu_count()
AHEAD = 1    # finished results per core that may wait in memory


def ordered(function, items):
    """Yield `function(item)` for each item, in the order of `items`.

    Threads are enough where the function releases Python's lock, as Pillow,
    hashlib and TensorFlow do.
    """
    with ThreadPoolExecutor(CORES) as pool:
        waiting = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > AHEAD * CORES:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
