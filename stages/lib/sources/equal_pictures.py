#!/usr/bin/env python3
"""Pictures that occur several times: leaks, contradicting labels, copies.

Pictures are equal if all their pixels are, upright and before resizing.
"""
import itertools

import numpy as np

from stages.lib.common import text

LISTED = 5    # examples that are printed
WHAT_TO_DO = ("remove the copies from one side, or leave out the later split, "
              "so that it is carved")


def groups(splits):
    """Return the pictures that occur more than once, by first occurrence.

    Args:
        splits: name -> `dataset.Split`, in the order of the splits.

    Returns:
        A list of lists of (split, row number).
    """
    digests = np.concatenate([split.digests for split in splits.values()])
    where = [(name, row) for name, split in splits.items()
             for row in range(len(split.y))]
    _, first, picture, times = np.unique(
        digests, axis=0, return_index=True, return_inverse=True,
        return_counts=True)
    found = {k: [] for k in sorted(np.flatnonzero(times > 1),
                                   key=first.__getitem__)}
    for k in np.flatnonzero(times[picture] > 1):
        found[picture[k]].append(where[k])
    return list(found.values())


def leaks(found, splits):
    """Return (earlier, later) -> {row of the later split: an earlier row}.

    Args:
        found: `groups`.
        splits: as there.
    """
    pairs = {pair: {} for pair in itertools.combinations(splits, 2)}
    for group in found:
        for (earlier, first), (later, row) in itertools.combinations(group, 2):
            if earlier != later:
                pairs[earlier, later].setdefault(row, first)
    return pairs


def conflicts(found, splits):
    """Return those of `found` whose rows are of several classes."""
    return [group for group in found if len(
        {splits[name].y[row] for name, row in group}) > 1]


def copies(found, splits):
    """Return how many images repeat one of the same split and class."""
    return sum(len(group) - len({(name, splits[name].y[row])
                                 for name, row in group}) for group in found)


def leaked_rows(pairs):
    """Return split -> its rows that are in an earlier split, ascending."""
    rows = {later: set() for _, later in pairs}
    for (_, later), found in pairs.items():
        rows[later] |= found.keys()
    return {later: sorted(found) for later, found in rows.items()}


def lines(found, splits):
    """Return lines about leaks and contradicting labels, for people."""
    def image(name, row):
        """Return the name of a row's image, as text."""
        return text.escaped(splits[name].rows["image"][row].decode())

    def label(name, row):
        """Return the class of a row's image, as text."""
        return text.escaped(splits[name].rows["class"][row].decode())

    shown, pairs = [], leaks(found, splits)
    rows = leaked_rows(pairs)
    total = sum(map(len, rows.values()))
    if total:
        parts = [f"{len(of):,} of {later} in {earlier}"
                 for (earlier, later), of in pairs.items() if of]
        shown.append(f"leaks: {total:,} images are equal to one in an earlier "
                     f"split ({', '.join(parts)}); {WHAT_TO_DO}")
        examples = [(later, row, earlier, first)
                    for (earlier, later), of in pairs.items()
                    for row, first in of.items()]
        shown += [f"leak: {image(later, row)} is the same picture as "
                  f"{image(earlier, first)}"
                  for later, row, earlier, first in examples[:LISTED]]
    wrong = conflicts(found, splits)
    if wrong:
        shown.append(f"contradicting labels: {len(wrong):,} pictures are in "
                     "several classes; correct their labels")
        shown += ["contradiction: " + ", ".join(
            f"{image(*where)} is {label(*where)}" for where in group[:LISTED])
            for group in wrong[:LISTED]]
    return shown
