#!/usr/bin/env python3
"""Files of a source that are no row: which, and why."""
from collections import Counter
from typing import NamedTuple, Optional

from stages.lib.common import errors, files

PATH = "results/refused.json"
NOT_READ = "not read: "    # begins reasons that are nobody's mistake
HIDDEN = ("Thumbs.db", "desktop.ini", "__MACOSX", "@eaDir")


class ListedFile(NamedTuple):
    """A file, the split and class that it stands in, why it is no row."""

    file: str
    split: Optional[str]
    class_name: Optional[str]
    reason: Optional[str]


def write(refused):
    """Write the list of `Refused` as JSON."""
    files.write_json(PATH, [
        {"file": one.file, "split": one.split, "class": one.class_name,
         "reason": one.reason} for one in refused])


def unexpected(refused):
    """Return those of the list of `Refused` that were meant to be rows."""
    return [one for one in refused if not one.reason.startswith(NOT_READ)]


def check_share(refused, good, allowed):
    """Raise a SourceError if too many were refused.

    Args:
        refused: list of `Refused`.
        good: number of rows.
        allowed: share of all, data.max_refused_fraction.
    """
    wrong = unexpected(refused)
    if wrong and len(wrong) > allowed * (len(wrong) + good):
        raise errors.SourceError(
            f"{len(wrong):,} of {len(wrong) + good:,} files are refused, more "
            f"than data.max_refused_fraction {allowed:g} allows; the first: "
            f"{wrong[0].file}: {wrong[0].reason}; all: {PATH}")


def summary():
    """Return one line about results/refused.json, or None for an empty one.
    """
    reasons = Counter(one["reason"].split(":")[0]
                      for one in files.read_json(PATH))
    if not reasons:
        return None
    return ("files that are no rows: " + ", ".join(
        f"{count:,} {reason}" for reason, count in reasons.most_common())
        + f"; see {PATH}")
