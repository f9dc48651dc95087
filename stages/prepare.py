#!/usr/bin/env python3
"""Read the data source; carve missing splits from train.

In:  data.source, a descriptor (.yaml), arrays (.npz), a folder, or a table.
Out: data/prepared/{split}_x.npy  uint8 (n, h, w, 3), 0..255; for files
                                  (n, 0, 0, 3): `resize` reads them
     data/prepared/{split}_y.npy  uint8 or int64 (n,)
     data/prepared/{split}_rows.npy  which image each row is
     data/prepared/dataset.json   class names; rows that leak
     data/linked/                 links to the images of a table
     results/refused.json         rejected files, with reasons
     results/data.json            counts of problems in the data
"""
if not __package__:    # run as a file
    __import__("sys").path[0] += "/.."
    __import__("stages")    # checks this Python

from stages.lib.common import arrays, errors, files, stage, text
from stages.lib.params import params
from stages.lib.sources import (
    carving, dataset, equal_pictures, rejected_files, source)

LISTED = 5    # of many examples


def take(split, rows):
    """Return these rows of a `Split`; images are read when written."""
    return dataset.Split(arrays.Rows(split.x, rows), split.y[rows],
                         split.rows[rows], split.digests[rows])


def complete(splits, given, names):
    """Return train, validation and test; carve missing ones from train.

    Args:
        splits: name -> `dataset.Split`, the splits of the source.
        given: `params.Data`.
        names: of the classes.

    Raises:
        SourceError: train has one class, misses one, or a class is too small.
    """
    splits = dict(splits)
    if len(names) < 2:
        raise errors.SourceError(
            f"{given.source}: {len(names)} classes with images; "
            "at least two are needed")
    absent = missing(splits.get("train"), names)
    if absent:
        raise errors.SourceError(
            f"{given.source}: train has no image of the class "
            f"{text.escaped(absent[0])}; add images, or remove the class")
    fractions = {split: getattr(given, f"{split}_fraction")
                 for split in ("test", "validation") if split not in splits}
    if fractions:
        whole = splits["train"]
        carving.check_counts(whole.y, whole.digests, fractions, names)
        carved = carving.carve(whole.y, whole.digests, fractions, given.seed)
        splits.update({split: take(whole, rows)
                       for split, rows in carved.items()})
    return {split: splits[split] for split in files.SPLITS}


def missing(split, names):
    """Return the names of the classes without images in a split."""
    present = set() if split is None else set(split.y)
    return [name for k, name in enumerate(names) if k not in present]


def report(splits, names, rejected):
    """Print a summary, and write results/data.json.

    Returns:
        split -> its rows that are in an earlier split, too.
    """
    equal = equal_pictures.groups(splits)
    pairs = equal_pictures.leaks(equal, splits)
    leaked = equal_pictures.leaked_rows(pairs)
    absent = {name: missing(split, names) for name, split in splits.items()}
    for name, split in splits.items():
        size = split.x.shape[1:] if split.x.shape[1] else "sizes differ"
        print(f"prepare: {name}: {len(split.y):,} images, {size}")
        if absent[name]:
            more = len(absent[name]) - LISTED
            print(f"prepare: {name}: no image of "
                  f"{', '.join(map(text.escaped, absent[name][:LISTED]))}"
                  + (f" and {more:,} more classes" if more > 0 else ""))
    for line in [*equal_pictures.lines(equal, splits),
                 *rejected_files.summary()]:
        print(f"prepare: {line}")
    files.write_json("results/data.json", {
        "leaked_images": sum(map(len, leaked.values())),
        "leaks": {f"{later}_in_{earlier}": len(rows)
                  for (earlier, later), rows in pairs.items()},
        "contradicted_pictures": len(equal_pictures.conflicts(equal, splits)),
        "copies": equal_pictures.copies(equal, splits),
        "refused_files": sum(one.files for one in rejected),
        "missing_classes": sum(map(len, absent.values()))})
    return leaked


def main():
    """Write the three splits and their summary."""
    given = params.read().data
    data = source.load(given)
    rejected_files.write(data.rejected)
    rejected_files.check_share(data.rejected, sum(
        len(split.y) for split in data.splits.values()),
        given.max_refused_fraction)
    rejected_files.check_classes(data.rejected, data.splits, given.source)
    if data.unknown:
        print("prepare: arrays that are not read: "
              f"{', '.join(map(text.escaped, data.unknown))}")
    splits = complete(data.splits, given, data.class_names)
    for name, split in splits.items():
        arrays.write_array(f"data/prepared/{name}_x.npy", split.x)
        arrays.write_array(f"data/prepared/{name}_y.npy", split.y)
        arrays.write_array(f"data/prepared/{name}_rows.npy", split.rows)
    leaked = report(splits, data.class_names,
                    rejected_files.unexpected(data.rejected))
    files.write_json("data/prepared/dataset.json", {
        "class_names": data.class_names, "leaked_rows": leaked})


if __name__ == "__main__":
    stage.run(main)
