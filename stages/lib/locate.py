#!/usr/bin/env python3
"""Find the image of a row, and the row of an image.

Usage: python -m stages.lib.locate WHAT ...

WHAT is a row (`train:17`), or an image: a path in the source's folder
(`train/hat/a.jpg`, or its end, `a.jpg`) or a row of its arrays
(`x_train[5]`).  Prints row, image, class, and the SHA-256 of a file.
"""
import os
import re
import sys

from stages.lib import files
from stages.lib.errors import SourceError
from stages.lib.stage import run


def find(what, rows):
    """Return the rows that `what` names, as (split, number).

    Args:
        what: as on the command line.
        rows: split -> what data/prepared/{split}.json holds.

    Raises:
        SourceError: there is none.
    """
    row = re.fullmatch(rf"({'|'.join(rows)}):(\d+)", what)
    if row:
        split, number = row[1], int(row[2])
        if number >= len(rows[split]):
            raise SourceError(f"{what}: {split} has the rows 0 to "
                              f"{len(rows[split]) - 1}")
        return [(split, number)]
    end = os.sep + os.path.normpath(what)
    found = [(split, k) for split, images in rows.items()
             for k, image in enumerate(images)
             if (os.sep + image["image"]).endswith(end)]
    if not found:
        raise SourceError(f"{what}: no row shows it; a row is written like "
                          "train:17, an image like in data/prepared/*.json")
    return found


def main():
    """Print what was asked for, one line each."""
    rows = {split: files.read_json(f"data/prepared/{split}.json")
            for split in files.SPLITS}
    if len(sys.argv) < 2:
        raise SourceError(__doc__.split("\n\n")[1])
    for what in sys.argv[1:]:
        for split, number in find(what, rows):
            row = rows[split][number]
            print(f"{split}:{number}", row["image"], row["class"],
                  row.get("sha256", ""), sep="\t")


if __name__ == "__main__":
    run(main)
