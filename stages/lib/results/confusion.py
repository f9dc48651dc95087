#!/usr/bin/env python3
"""Which classes are mistaken for each other: tables, choice and order."""
import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial import distance

from stages.lib.common import files, text
from stages.lib.results import lettering, scores

SHOWN = 30     # classes whose names a matrix can show
PRINTED = 3    # pairs
ORDERED = 1000    # classes at most: the time grows with their square
CLASSES = ["class", "accuracy", "images", "mistaken_for", "times", "place"]
PAIRS = ["pair", "mistaken", "share", "class", "other", "class_as_other",
         "other_as_class", "row", "image"]
FLOOR = 1e-12    # of a mean probability, so that its logarithm is finite


def classes(labels, predicted, every, names):
    """Return the rows of a table of classes, the least accurate first.

    Args:
        labels, predicted: integer (n,).
        every: classes in the order of the matrix.
        names: of the classes.

    Returns:
        A list of `CLASSES`: accuracy, 0..1, is NaN for a class without
        images, which stands last; mistaken_for is its most frequent wrong
        prediction, and times how often that is predicted; place is that in
        the matrix, from 0, empty if it is not there.
    """
    place = {k: n for n, k in enumerate(every)}
    images = np.bincount(labels, minlength=len(names))
    right = np.bincount(labels[labels == predicted], minlength=len(names))
    share = np.where(images > 0, right / images.clip(min=1), np.nan)
    wrong = labels != predicted
    pairs, times = np.unique(np.stack([labels[wrong], predicted[wrong]], 1),
                             axis=0, return_counts=True)
    first = {}
    for k in np.argsort(-times, kind="stable"):
        first.setdefault(pairs[k, 0], (names[pairs[k, 1]], times[k]))
    return [[names[k], share[k], images[k], *first.get(k, ("", 0)),
             place.get(k, "")]
            for k in np.lexsort([-images, share])]    # NaN is last


def pairs(labels, probabilities, names, images):
    """Return the rows of a table of confused pairs, most frequent first.

    Args:
        labels: integer (n,).
        probabilities: float (n, classes).
        names: of the classes.
        images: names of the images, n.

    Returns:
        A list of `PAIRS`: mistaken counts both directions, share is that of
        the images of both classes; row and image are those of the mistake of
        greatest margin, see `scores.margins`.
    """
    predicted = probabilities.argmax(axis=1)
    of_class = np.bincount(labels, minlength=len(names))
    worst, to_other = {}, {}
    wrong = np.flatnonzero(labels != predicted)
    margins = scores.margins(probabilities[wrong], labels[wrong])
    for k in wrong[np.argsort(-margins, kind="stable")]:
        pair = tuple(sorted((labels[k], predicted[k])))
        worst.setdefault(pair, k)
        to_other[pair] = to_other.get(pair, 0) + (labels[k] == pair[0])
    return [[f"{names[a]} / {names[b]}", times,
             times / (of_class[a] + of_class[b]), names[a], names[b],
             to_other[a, b], times - to_other[a, b], worst[a, b],
             images[worst[a, b]]]
            for (a, b), times in zip(*scores.confused_pairs(
                labels, predicted))]


def lines(pairs):
    """Return the first of the rows of `pairs` as text, each on one line."""
    shown = [dict(zip(PAIRS, row)) for row in pairs[:PRINTED]]
    return [" and ".join(
        lettering.short(text.escaped(row[side]))
        for side in ("class", "other")) + f" ({row['mistaken']:,})"
        for row in shown]


def most_confused(labels, predicted, number, count=SHOWN):
    """Return the classes to show, ascending, integer (`count`,) at most.

    Those of the pairs that are mistaken most often, in either direction; if
    they are few, others that have images, too.

    Args:
        labels, predicted: integer (n,).
        number: of all classes.
        count: of the classes to show.
    """
    found, _ = scores.confused_pairs(labels, predicted)
    ranked = [*found.ravel(), *np.unique(labels), *range(number)]
    return np.sort([*dict.fromkeys(map(int, ranked))][:count])


def write(path, labels, predicted, names):
    """Write actual and predicted class of each image as a table.

    Of many classes, the images of the most confused: DVC draws this table.

    Args:
        labels, predicted: integer (n,).
        names: of the classes.
    """
    shown = most_confused(labels, predicted, len(names))
    kept = np.isin(labels, shown) & np.isin(predicted, shown)
    files.write_csv(path, ["actual", "predicted"], (
        (names[a], names[b]) for a, b in zip(labels[kept], predicted[kept])))


def ordered(labels, probabilities):
    """Return the classes in an order with confused ones side by side.

    Of more than `ORDERED`, the most confused.  The order is that of the leaves
    of a hierarchical clustering, average linkage, with the least sum of
    distances between neighbours (Bar-Joseph et al., Fast optimal leaf ordering
    for hierarchical clustering, 2001).  The distance of two classes is the
    negative logarithm of the mean probability that the images of one have for
    the other.

    Args:
        labels: integer (n,).
        probabilities: float (n, classes).
    """
    shown = most_confused(labels, probabilities.argmax(axis=1),
                          probabilities.shape[1], ORDERED)
    if len(shown) < 3:
        return shown
    mean = np.zeros((len(shown), len(shown)))
    for place, k in enumerate(shown):
        rows = np.flatnonzero(labels == k)
        if len(rows):
            mean[place] = probabilities[np.ix_(rows, shown)].mean(axis=0)
    apart = -np.log(np.maximum((mean + mean.T) / 2, FLOOR))
    np.fill_diagonal(apart, 0)
    tree = hierarchy.linkage(distance.squareform(apart.clip(min=0)),
                             "average", optimal_ordering=True)
    leaves = hierarchy.leaves_list(tree)
    return shown[leaves if leaves[0] < leaves[-1] else leaves[::-1]]
