#!/usr/bin/env python3
"""Measure the rate of an engine on a few images, and that of the others."""
import contextlib
import io
import time
from concurrent.futures import ThreadPoolExecutor

from stages.lib.common import errors
from stages.lib.engines import engine as engines

LONG = 60    # seconds of work from which on other engines are tried
ROUNDS, ENOUGH = 10, 2    # of the comparison: at most; seconds until the last
FASTER = 1.05    # less is noise


def rate(engine, images):
    """Return images per second of `engine`.

    Args:
        engine: `engine.Engine`.
        images: uint8 (k, side, side, 3), computed once by each worker.
    """
    with ThreadPoolExecutor(engine.workers) as pool:
        list(pool.map(engine.compute, [images[:1]] * engine.workers))
        begin = time.perf_counter()
        list(pool.map(engine.compute, [images] * engine.workers))
        return engine.workers * len(images) / (time.perf_counter() - begin)


def compared(name, engine, model, images, total):
    """Return a line about the fastest engine; empty if there are no others.

    They take turns, because the speed of a machine drifts; the best counts.

    Args:
        name, engine: of params.yaml, and what `engine.load` returned.
        model: `backbone.extractor`.
        images: as `rate`.
        total: number of rows that another engine would compute.
    """
    loaded = {name: engine}
    for other in engines.others(name):
        with contextlib.suppress(errors.EngineError):    # cannot convert it
            with contextlib.redirect_stdout(io.StringIO()):
                loaded[other] = engines.load(other, model, None)
    if len(loaded) == 1:
        return ""
    best, begin = dict.fromkeys(loaded, 0), time.perf_counter()
    for _ in range(ROUNDS):
        for one in loaded:
            best[one] = max(best[one], rate(loaded[one], images))
        if time.perf_counter() - begin > ENOUGH:
            break
    return _line(name, best, total)


def _line(name, rates, total):
    """Return what `compared` does, from name -> images per second."""
    first = max(rates, key=rates.get)
    found = ", ".join(f"{one} {value:,.0f}" for one, value in sorted(
        rates.items(), key=lambda item: -item[1])) + " images/s"
    if rates[first] < FASTER * rates[name]:
        return f"extract: no installed engine is faster here: {found}\n"
    return (f"extract: {first} is the fastest installed engine here: {found};"
            f" `dvc exp run -S extract.engine={first}` chooses it, and "
            f"computes all {total:,} rows\n")
