#!/usr/bin/env python3
"""Find the image of a row, and the rows of an image."""
if not __package__:    # run as a file
    __import__("sys").path[0] += "/.."
    __import__("stages")    # checks this Python

import os
import re

from stages.lib.common import command_line, errors, files, stage, text
from stages.lib.images import prepared

ABOUT = """Print row, image, class and, for a file, its SHA-256, separated by
tabs; tabs, line ends and backslashes in names as escapes (\\t, \\n, \\\\)."""
WHAT = """a row (train:17), or an image: a path in the source's folder
(train/hat/a.jpg, or its end, a.jpg), or a row of its arrays (x_train[5])"""


def find(what, rows):
    """Return the matching rows as (split, number).

    Args:
        what: one argument of the command line.
        rows: split -> `prepared.rows`.

    Raises:
        SourceError: no row matches.
    """
    row = re.fullmatch(rf"({'|'.join(rows)}):(\d+)", what)
    if row:
        split, number = row[1], int(row[2])
        if number >= len(rows[split]):
            raise errors.SourceError(f"{what}: {split} has the rows 0 to "
                                     f"{len(rows[split]) - 1}")
        return [(split, number)]
    words = {os.path.normpath(what), os.path.normpath(text.unescaped(what))}
    found = [(split, k) for split, images in rows.items()
             for k in sorted({k for word in words for k in images.named(
                 word)})]
    if not found:
        raise errors.SourceError(
            f"{what}: no row matches; write a row as train:17, an image as "
            "printed by this command")
    return found


def main():
    """Print row, image and class of each match."""
    parser = command_line.Parser(prog="python -m commands.locate_rows",
                                 description=ABOUT)
    parser.add_argument("what", metavar="WHAT", nargs="+", help=WHAT)
    given = parser.parse_args()
    rows = {split: prepared.rows(split) for split in files.SPLITS}
    for what in given.what:
        for split, number in find(what, rows):
            row = rows[split][number]
            print(f"{split}:{number}", text.escaped(row["image"]),
                  text.escaped(row["class"]), row.get("sha256", ""), sep="\t")


if __name__ == "__main__":
    stage.run(main)
