#!/usr/bin/env python3
"""Read the data source; carve missing splits from train.

In:  data.source, a descriptor (.yaml), arrays (.npz), or a folder.
Out: data/prepared/{split}_x.npy  uint8 (n, h, w, 3), 0..255; for a folder
                                  (n, 0, 0, 3): `resize` reads the files
     data/prepared/{split}_y.npy  uint8 or int64 (n,)
     data/prepared/{split}.json   which image each row is
     data/prepared/dataset.json   class names
     results/refused.json         rejected files, with reasons
     results/data.json            counts of problems in the data
"""
import numpy as np
from sklearn.model_selection import train_test_split

from stages.lib.common import arrays, errors, files, stage
from stages.lib.params import params
from stages.lib.sources import dataset, rejected_files, source


def carve(labels, fraction, seed, names, param="data.validation_fraction"):
    """Return the remaining rows and the carved rows, ascending, int64.

    `fraction` of every class is carved; scikit-learn rounds so that the total
    is right.

    Raises:
        SourceError: a class has too few images for two splits.
    """
    counts = np.bincount(labels, minlength=len(names))
    rarest = int(counts.argmin())
    need = int(np.ceil(1 / min(fraction, 1 - fraction)))
    if counts[rarest] < need:
        raise errors.SourceError(
            f"class {rarest} ({names[rarest]}) has {counts[rarest]} images "
            f"in train; {param} {fraction:g} needs {need} of each class")
    train, carved = train_test_split(
        np.arange(len(labels)), test_size=fraction, stratify=labels,
        random_state=seed)
    return np.sort(train), np.sort(carved)


def take(split, rows):
    """Return these rows of a `Split`."""
    return dataset.Split(split.x[rows], split.y[rows],
                         [split.rows[k] for k in rows], split.digests[rows])


def complete(splits, given, names):
    """Return train, validation and test; carve missing ones from train.

    Args:
        splits: name -> `dataset.Split`, the splits of the source.
        given: `params.Data`.
        names: of the classes.

    Raises:
        SourceError: as `carve`; or train has one class, or misses one.
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
            f"{absent[0]}; add images, or remove the class")
    for split in ("test", "validation"):
        if split not in splits:
            param = f"{split}_fraction"
            rows, carved = carve(
                splits["train"].y, getattr(given, param), given.seed, names,
                f"data.{param}")
            splits[split] = take(splits["train"], carved)
            splits["train"] = take(splits["train"], rows)
    return {split: splits[split] for split in files.SPLITS}


def missing(split, names):
    """Return the names of the classes without images in a split."""
    present = set() if split is None else set(split.y)
    return [name for k, name in enumerate(names) if k not in present]


def leaks(splits):
    """Return pairs of images with the same pixels in two splits.

    Args:
        splits: name -> `dataset.Split`, in the order of the splits.
    """
    first, found = {}, []
    for split in splits.values():
        found += [(row["image"], first[digest.tobytes()]) for row, digest
                  in zip(split.rows, split.digests)
                  if digest.tobytes() in first]
        for row, digest in zip(split.rows, split.digests):
            first.setdefault(digest.tobytes(), row["image"])
    return found


def report(splits, names, rejected):
    """Print a summary, and write results/data.json."""
    leaked = leaks(splits)
    absent = {name: missing(split, names) for name, split in splits.items()}
    for name, split in splits.items():
        size = split.x.shape[1:] if split.x.shape[1] else "sizes differ"
        print(f"prepare: {name}: {len(split.y):,} images, {size}")
        if absent[name]:
            print(f"prepare: {name}: no image of {', '.join(absent[name])}")
    for image, earlier in leaked[:5]:
        print(f"prepare: leak: {image} is the same picture as {earlier}")
    if rejected_files.summary():
        print(f"prepare: {rejected_files.summary()}")
    files.write_json("results/data.json", {
        "leaked_images": len(leaked), "refused_files": len(rejected),
        "missing_classes": sum(map(len, absent.values()))})


def main():
    """Write the three splits and their summary."""
    given = params.read().data
    data = source.load(given.source)
    rejected_files.write(data.rejected)
    rejected_files.check_share(data.rejected, sum(
        len(split.y) for split in data.splits.values()),
        given.max_refused_fraction)
    splits = complete(data.splits, given, data.class_names)
    for name, split in splits.items():
        arrays.write_array(f"data/prepared/{name}_x.npy", split.x)
        arrays.write_array(f"data/prepared/{name}_y.npy", split.y)
        files.write_json(f"data/prepared/{name}.json", split.rows)
    report(splits, data.class_names, rejected_files.unexpected(data.rejected))
    files.write_json("data/prepared/dataset.json",
                     {"class_names": data.class_names})


if __name__ == "__main__":
    stage.run(main)
