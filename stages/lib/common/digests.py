#!/usr/bin/env python3
"""Digests of rows: 16 bytes of SHA-256 that identify a row by its bytes."""
import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from stages.lib.common import parallel

DIGEST = 16    # bytes of SHA-256 that are kept: 2^64 rows before a collision
BLOCK = 64     # rows a task


def of_rows(rows):
    """Return the digest of each of `rows`, C-contiguous, uint8 (n, 16)."""
    joined = b"".join(hashlib.sha256(row).digest()[:DIGEST] for row in rows)
    return np.frombuffer(joined, np.uint8).reshape(-1, DIGEST)


def of_all(read, count):
    """Return the digests of `count` rows, on all cores, uint8 (count, 16).

    Args:
        read: function from ascending row numbers to those rows, C-contiguous.
        count: number of rows.
    """
    if not count:
        return np.empty((0, DIGEST), np.uint8)
    with ThreadPoolExecutor(parallel.CORES) as pool:
        return np.concatenate(list(pool.map(
            lambda k: of_rows(read(np.arange(k, min(k + BLOCK, count)))),
            range(0, count, BLOCK))))


def first_of_each(found):
    """Return where each digest is for the first time, int64, ascending.

    Args:
        found: digests, uint8 (n, 16); equal ones are of equal rows.
    """
    halves = np.ascontiguousarray(found).view(np.uint64).T
    order = np.lexsort(halves)    # stable: equal ones keep their order
    first = np.zeros(len(order), bool)
    first[:1] = True
    for half in halves:
        half = half[order]
        first[1:] |= half[1:] != half[:-1]
    order = order[first]
    order.sort()
    return order
