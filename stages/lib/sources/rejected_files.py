#!/usr/bin/env python3
"""Rejected files of a source, with the reasons."""
from collections import Counter
from typing import NamedTuple, Optional

from stages.lib.common import errors, files

PATH = "results/refused.json"
NOT_READ = "not read: "    # prefix of reasons that are not errors
HIDDEN = ("Thumbs.db", "desktop.ini", "__MACOSX", "@eaDir")


class ListedFile(NamedTuple):
    """A file, its split and class, and why it is rejected."""

    file: str
    split: Optional[str]
    class_name: Optional[str]
    reason: Optional[str]


def write(rejected):
    """Write a list of `ListedFile` as JSON."""
    files.write_json(PATH, [
        {"file": one.file, "split": one.split, "class": one.class_name,
         "reason": one.reason} for one in rejected])


def unexpected(rejected):
    """Return those of a list of `ListedFile` that should have been rows."""
    return [one for one in rejected if not one.reason.startswith(NOT_READ)]


def check_share(rejected, count, allowed):
    """Raise a SourceError if too many files are rejected.

    Args:
        rejected: list of `ListedFile`.
        count: number of rows.
        allowed: largest share of all files, data.max_refused_fraction.
    """
    wrong = unexpected(rejected)
    if wrong and len(wrong) > allowed * (len(wrong) + count):
        raise errors.SourceError(
            f"{len(wrong):,} of {len(wrong) + count:,} files are refused, "
            f"more than data.max_refused_fraction {allowed:g} allows; "
            f"the first: {wrong[0].file}: {wrong[0].reason}; all: {PATH}")


def summary():
    """Return a line about results/refused.json; None if it is empty."""
    reasons = Counter(one["reason"].split(":")[0]
                      for one in files.read_json(PATH))
    if not reasons:
        return None
    return ("rejected files: " + ", ".join(
        f"{count:,} {reason}" for reason, count in reasons.most_common())
        + f"; see {PATH}")
