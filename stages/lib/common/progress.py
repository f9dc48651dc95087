#!/usr/bin/env python3
"""Progress of long work: how much per second, and the time left."""
import sys

from tqdm import tqdm

MINUTE = 60    # seconds between two lines where there is no terminal
LINE = "{desc}: {n_fmt} of {total_fmt} {unit}, {rate_fmt}, {remaining} left"


class Lines:
    """A text file that gets lines instead of a bar that moves."""

    encoding = "utf-8"

    def write(self, text):
        """Write a line unless it is empty."""
        text = text.strip("\r\n ")
        if text:
            print(text, file=sys.stderr, flush=True)

    def flush(self):
        """Do nothing: each line is flushed."""


def bar(title, total, unit="img"):
    """Return a `tqdm` of `total` units: a bar, or a line a minute.

    Without a terminal there is no line in the first minute.
    """
    if sys.stderr.isatty():
        return tqdm(total=total, desc=title, unit=unit)
    return tqdm(total=total, desc=title, unit=unit, file=Lines(),
                bar_format=LINE, leave=False, delay=MINUTE, miniters=1,
                mininterval=MINUTE, maxinterval=MINUTE)
