#!/usr/bin/env python3
"""Carve splits from train: by the content of each image, without leaks."""
import hashlib

import numpy as np

from stages.lib.common import errors, text

REST = "train"


def carve(labels, pixels, fractions, seed):
    """Return split -> rows, ascending, int64; train has the rest.

    Only the image itself and `seed` decide where it goes: in each class, the
    different pictures are sorted by a hash, and the first become test, the
    next validation.  Equal pictures go together; those of two classes, whose
    labels contradict each other, stay in train.  If a picture is added or
    removed, at most one other of its class crosses each boundary between two
    splits: at most two in all, together with their copies.

    Args:
        labels: integer (n,).
        pixels: digests of the pixels, uint8 (n, 16).
        fractions: split -> share of the pictures of each class, 0..1, in
            the order of carving, each of what the earlier ones left.
        seed: 0 or more.
    """
    labels = labels.astype(int)
    ranks = _ranks(labels, pixels, seed)
    bounds = np.cumsum([shares(count, fractions)
                        for count in _counts(labels, ranks)], axis=1)
    found = np.zeros(len(labels), int)    # train
    for number in range(len(fractions), 0, -1):
        found[(ranks >= 0) & (ranks < bounds[labels, number - 1])] = number
    return {split: np.flatnonzero(found == number)
            for number, split in enumerate([REST, *fractions])}


def shares(count, fractions):
    """Return how many of `count` pictures each split gets, a list of int.

    At least one, and one remains, if there are enough.
    """
    found, after = [], len(fractions)
    for fraction in fractions.values():
        share = int(count * fraction + 0.5)
        found.append(max(0, min(max(share, 1), count - after)))
        count -= found[-1]
        after -= 1
    return found


def check_counts(labels, pixels, fractions, names):
    """Raise a SourceError if a class has too few different pictures.

    Args:
        labels, pixels, fractions: as in `carve`.
        names: of the classes.
    """
    counts = _counts(labels, _ranks(labels, pixels, seed=0))
    rarest, need = int(counts.argmin()), len(fractions) + 1
    if counts[rarest] < need:
        raise errors.SourceError(
            f"class {rarest} ({text.escaped(names[rarest])}): "
            f"{counts[rarest]} different images in train are of this class "
            f"only, {need} splits need {need}; add images, remove the class, "
            f"or add the split {' and '.join(fractions)} to the source")


def _counts(labels, ranks):
    """Return the number of ranked pictures of each class, int64 (k,)."""
    counts = np.zeros(labels.max() + 1, int)
    np.maximum.at(counts, labels, ranks + 1)
    return counts


def _ranks(labels, pixels, seed):
    """Return the rank of each row's picture in its class, int64 (n,).

    Equal pictures have one rank; -1: the picture is in several classes.
    """
    pictures, mine = np.unique(pixels, axis=0, return_inverse=True)
    hashes = [hashlib.sha256(b"%d " % seed + picture.tobytes()).digest()
              for picture in pictures]
    place = np.argsort(sorted(range(len(hashes)), key=hashes.__getitem__))
    pairs, pair = np.unique(
        np.stack([labels.astype(int), place[mine]], axis=1), axis=0,
        return_inverse=True)    # sorted by label, then place
    alone = np.bincount(pairs[:, 1])[pairs[:, 1]] == 1
    _, first, label = np.unique(pairs[:, 0], return_index=True,
                                return_inverse=True)
    before = np.cumsum(alone) - alone
    ranks = np.where(alone, before - before[first][label], -1)
    return ranks[pair]
