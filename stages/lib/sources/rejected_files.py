#!/usr/bin/env python3
"""Rejected files of a source, with the reasons."""
from collections import Counter
from typing import NamedTuple, Optional

import numpy as np

from stages.lib.common import errors, files
from stages.lib.sources import walk

PATH = "results/refused.json"


class ListedFile(NamedTuple):
    """A file of a source, and why it is rejected.

    Attributes:
        file: path in the source; of a rejected folder, too.
        split, class_name: to which it belongs; None if unknown.
        reason: None for a file that is to be read.
        files: number of files; not 1 for a rejected folder.
    """

    file: str
    split: Optional[str]
    class_name: Optional[str]
    reason: Optional[str]
    files: int = 1


def write(rejected):
    """Write a list of `ListedFile` as JSON: side files once for each kind."""
    first, count = {}, Counter()
    for one in rejected:
        side = is_side_file(one)
        first.setdefault(one.reason if side else one, one)
        count[one.reason if side else one] += one.files
    files.write_json(PATH, [
        {"file": one.file, "split": one.split, "class": one.class_name,
         "reason": one.reason, "files": count[key]}
        for key, one in first.items()])


def is_side_file(one):
    """Return whether a `ListedFile` is not read because of its kind."""
    return (one.reason or "").startswith(f"{walk.NOT_READ}.")


def unexpected(rejected):
    """Return those of a list of `ListedFile` that should have been rows."""
    return [one for one in rejected
            if not one.reason.startswith(walk.NOT_READ)]


def check_share(rejected, rows, allowed):
    """Raise a SourceError if too many files are rejected.

    Args:
        rejected: list of `ListedFile`.
        rows: number of rows.
        allowed: largest share of all files, data.max_refused_fraction.
    """
    wrong = unexpected(rejected)
    count = sum(one.files for one in wrong)
    if count > allowed * (count + rows):
        raise errors.SourceError(
            f"{count:,} of {count + rows:,} files are refused, "
            f"more than data.max_refused_fraction {allowed:g} allows; "
            f"the first: {wrong[0].file}: {wrong[0].reason}; all: {PATH}")


def check_classes(rejected, splits, source):
    """Raise a SourceError if a split, or a class in one, has no row.

    Args:
        rejected: list of `ListedFile`.
        splits: name -> `dataset.Split`.
        source: its path, named in errors.
    """
    present = {(split, name.decode()) for split, one in splits.items()
               for name in np.unique(one.rows["class"])}
    present |= {(split, None) for split in splits}
    for one in rejected:
        if one.split and (one.split, one.class_name) not in present:
            what = (f"the class {one.class_name} of {one.split}"
                    if one.class_name else f"the split {one.split}")
            raise errors.SourceError(
                f"{source}: {what} has no image; its first rejected file: "
                f"{one.file}: {one.reason}; add images, or remove it")


def summary():
    """Return lines about results/refused.json; none if it is empty."""
    refused, skipped = Counter(), Counter()
    for one in files.read_json(PATH):
        if one["reason"].startswith(walk.NOT_READ):
            skipped[one["reason"][len(walk.NOT_READ):]] += one["files"]
        else:
            refused[one["reason"].split(":")[0]] += one["files"]
    return [f"{title}: " + ", ".join(
        f"{count:,} {reason}" for reason, count in found.most_common()
        if count) + f"; see {PATH}"
        for title, found in (("refused files", refused),
                             ("files that are not read", skipped))
        if any(found.values())]
