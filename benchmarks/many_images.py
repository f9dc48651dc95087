#!/usr/bin/env python3
"""What the doctor misses of many images: few vote, groups are compared.

Usage: benchmarks/many_images.py PROJECT

PROJECT: a folder with a finished run of the pipeline; it is only read.  Treats
its images as too many (`neighbours.MANY`), with groups of 100 instead of 1,000
images, as it has fewer.  Prints, for a number of voters, the accuracy of their
vote on test, and how many near duplicates are found of those that are found
when each image is compared with all.
"""
import os
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
__import__("stages")    # checks this Python

from stages.lib.inspection import (  # noqa: E402
    cached_features, doctor, neighbours, options)

VOTERS, CELL = (20000, 10000, 5000), 100


def examined(cached, given):
    """Return accuracy on test, pairs of near duplicates, and seconds."""
    begin = time.perf_counter()
    found = doctor.examine(cached, given)
    return (found.findings["accuracy"]["test"],
            set(map(tuple, found.near_duplicates)),
            time.perf_counter() - begin)


def main():
    """Print the table."""
    os.chdir(sys.argv.pop(1))
    given, cached = options.read(), cached_features.load()
    neighbours.MANY = len(cached.labels)
    accuracy, pairs, seconds = examined(cached, given)
    print("| voters | accuracy on test | near duplicates | seconds |\n"
          "|---|---|---|---|\n"
          f"| all | {accuracy:.4f} | {len(pairs):,} | {seconds:.0f} |")
    neighbours.CELL = CELL
    for neighbours.MANY in VOTERS:
        accuracy, found, seconds = examined(cached, given)
        print(f"| {neighbours.MANY:,} | {accuracy:.4f} | "
              f"{len(pairs & found):,} of {len(pairs):,} | {seconds:.0f} |",
              flush=True)


if __name__ == "__main__":
    main()
