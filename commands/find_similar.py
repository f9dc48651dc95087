#!/usr/bin/env python3
"""Find the cached images that are nearest to an example.

In:  features/, data/prepared/, models/weights; for photographs of a folder
     data/resized/; image files, or rows such as train:17
Out: on standard output a table or JSON, and a sheet of pictures (--sheet)
"""
if not __package__:    # run as a file
    __import__("sys").path[0] += "/.."
    __import__("stages")    # checks this Python

import json
import re
import sys

import numpy as np

from stages.lib.common import command_line, errors, files, stage, text
from stages.lib.images import fitting, prepared
from stages.lib.inspection import search, similar_sheet, sprite
from stages.lib.params import params

SHEET = "results/inspect/similar.png"
MOST = 1000    # of --top
ABOUT = """Print the cached images nearest to each example, nearest first:
example, cosine distance, row, class and image, separated by tabs.  A new image
passes the same frozen part as the cached ones.  Distances are those of the
doctor (inspect_features): 0 for the same features, about 1 for unrelated
images."""


def parser():
    """Return the parser of the command line."""
    found = command_line.Parser(prog="python -m commands.find_similar",
                                description=ABOUT)
    found.add_argument("examples", metavar="EXAMPLE", nargs="+",
                       help="an image file, - for standard input, or a row "
                       "such as train:17")
    found.add_argument("--top", type=int, default=8, metavar="K",
                       help="images for each example (%(default)s)")
    found.add_argument("--sheet", metavar="OUT", default=SHEET,
                       help="where to write their pictures, "
                       f"{similar_sheet.LINES} lines at most (%(default)s)")
    found.add_argument("--json", action="store_true",
                       help="print a JSON list instead of a table")
    return found


class Examples:
    """Reads examples: their features and their pictures."""

    def __init__(self, cached):
        """Compute nothing yet.

        Args:
            cached: `search.CachedImages`.
        """
        self._cached, self._given, self._frozen = cached, params.read(), None

    def read(self, word):
        """Return features, pixels, and split and row, or None, of `word`.

        Raises:
            SourceError: no such row, or not a usable image.
            PipelineError: as `frozen_part.FrozenPart`.
        """
        row = re.fullmatch(rf"({'|'.join(files.SPLITS)}):(\d+)", word)
        vector, pixels, place = (self._row(row[1], int(row[2])) if row
                                 else (*self._file(word), None))
        if not np.isfinite(vector).all():
            raise errors.SourceError(
                f"{word}: its features are not finite; run `make inspect`")
        return vector, pixels, place

    def _row(self, split, row):
        """Return what `read` returns, for a row."""
        number = files.SPLITS.index(split)
        count = len(self._cached.labels[number])
        if row >= count:
            raise errors.SourceError(
                f"{split}:{row}: {split} has the rows 0 to {count - 1}")
        return (self._cached.vector(split, row),
                sprite.pictures(split, count)[row], (number, row))

    def _file(self, path):
        """Return features and pixels of an image file."""
        # TensorFlow takes seconds to start; rows do not need it.
        from stages.lib.inspection import frozen_part
        given = self._given
        try:
            pixels = fitting.pixels(path, given.data.max_megapixels)
        except errors.PictureError as error:
            raise errors.SourceError(
                f"{text.escaped(path)}: {error}; write an image file, or a "
                "row as train:17") from error
        self._frozen = self._frozen or frozen_part.FrozenPart(given)
        images = prepared.Images("train", given.data.source)
        return self._frozen.vector(
            pixels if images.of_files else fitting.fit(
                pixels, images.shape[:2], given.resize.mode)), pixels


def described(word, found, cached, rows):
    """Return what was found for an example, a dictionary for JSON.

    Args:
        word: the example.
        found: `search.Found`.
        cached: `search.CachedImages`.
        rows: split -> `prepared.rows`.
    """
    return {"example": word, "similar": [
        {"row": f"{files.SPLITS[split]}:{row}", "distance": float(distance),
         "class": cached.names[cached.labels[split][row]],
         "image": rows[files.SPLITS[split]][row]["image"]}
        for split, row, distance in zip(*found)]}


def main():
    """Print a table or JSON, and draw the sheet."""
    given = parser().parse_args()
    if not 1 <= given.top <= MOST:
        parser().error(f"--top must be 1 to {MOST}")
    cached = search.CachedImages()
    reader = Examples(cached)
    vectors, pictures, places = zip(*map(reader.read, given.examples))
    found = cached.nearest(np.stack(vectors), places, given.top)
    rows = {split: prepared.rows(split) for split in files.SPLITS}
    similar = [described(word, one, cached, rows)
               for word, one in zip(given.examples, found)]
    similar_sheet.draw(given.sheet, list(zip(given.examples, pictures)), found,
                       cached)
    if given.json:
        print(json.dumps(similar, indent=2, ensure_ascii=False))
        return
    for one in similar:
        for near in one["similar"]:
            print(text.escaped(one["example"]), f"{near['distance']:.4f}",
                  near["row"], text.escaped(near["class"]),
                  text.escaped(near["image"]), sep="\t")
    print(f"find_similar: pictures in {given.sheet}", file=sys.stderr)


if __name__ == "__main__":
    stage.run(main, lock="extract")    # both may convert the graph
