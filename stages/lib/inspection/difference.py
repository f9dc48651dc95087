#!/usr/bin/env python3
"""Differences between the cached features of two revisions."""
import numpy as np

from stages.lib.common import files
from stages.lib.inspection import metric, neighbours, report, voting

KEPT = 10    # nearest neighbours that are compared


def difference(old, new, count):
    """Return what changed from `old` to `new`, as a dictionary for JSON.

    Images are matched by the pixels that the backbone sees.  If none match
    (another side), rows are matched by number, given equally large splits.

    Args:
        old, new: `cached_features.CachedFeatures`.
        count: neighbours that vote.
    """
    pairs, by = _matched(old, new)
    before, after = (metric.space(one.vectors, one.in_split("train"))
                     for one in (old, new))
    key = {name: [old.manifest["key"].get(name), new.manifest["key"].get(name)]
           for name in {**old.manifest["key"], **new.manifest["key"]}
           if old.manifest["key"].get(name) != new.manifest["key"].get(name)}
    result = {
        "key": key, "matched_by": by, "common": len(pairs),
        "added": [new.where(k) for k in np.setdiff1d(
            np.arange(len(new.labels)), pairs[:, 1])],
        "removed": [old.where(k) for k in np.setdiff1d(
            np.arange(len(old.labels)), pairs[:, 0])],
        "labels_changed": [
            new.where(b) for a, b in pairs
            if _label(old, a) != _label(new, b)],
        "accuracy": [_accuracy(one, points, count) for one, points in
                     ((old, before), (new, after))]}
    if old.vectors.shape[1] == new.vectors.shape[1]:
        result.update(_changes(old, new, pairs))
    result["neighbours_kept"] = _kept(old, new, before, after, pairs)
    return result


def lines(found, rev, top):
    """Yield a `difference` as text, at most `top` lines per list."""
    yield f"Compared with {rev}: {found['common']:,} common images, by " \
          f"{found['matched_by']}"
    for name, (old, new) in found["key"].items():
        if name == "columns":
            old, new = report.layers(old), report.layers(new)
        yield f"  key: {name}: {old} -> {new}"
    if not found["key"]:
        yield "  key: the same"
    for kind in ("added", "removed", "labels_changed", "changed"):
        some = found.get(kind, [])
        yield f"  {kind.replace('_', ' ')}: {len(some):,}"
        for one in some[:top]:
            change = (f", relative change {one['change']:.3g}"
                      if "change" in one else "")
            yield f"    {report.place(one)}{change}"
    if "change" in found:
        yield (f"  relative change of a row: median "
               f"{found['change']['median']:.3g}, greatest "
               f"{found['change']['greatest']:.3g}")
    kept = found["neighbours_kept"]
    if kept is not None:
        yield f"  of {KEPT} nearest neighbours {kept:.3f} are kept"
    for split in files.SPLITS:
        before, after = (one.get(split) for one in found["accuracy"])
        if before is not None and after is not None:
            yield (f"  accuracy of neighbours on {split}: {before:.4f} -> "
                   f"{after:.4f}")


def _label(cached, k):
    """Return the class name of row `k`."""
    return cached.names[cached.labels[k]]


def _matched(old, new):
    """Return pairs of rows (k, 2) of the same images, and how they match.

    Copies of an image are paired in order; train with train.
    """
    def numbered(cached):
        """Return (split, image, how many before it) -> row."""
        seen, found = {}, {}
        for k, one in enumerate(zip(cached.split.tolist(),
                                    cached.images.tolist())):
            seen[one] = seen.get(one, -1) + 1
            found[(*one, seen[one])] = k
        return found

    first, second = numbered(old), numbered(new)
    pairs = [(first[one], k) for one, k in second.items() if one in first]
    if pairs or len(old.row) != len(new.row) or (
            old.split != new.split).any():
        return np.array(pairs, np.int64).reshape(-1, 2), "pixels"
    return np.stack([np.arange(len(old.row))] * 2, 1), "row number"


def _changes(old, new, pairs):
    """Return the changed rows, largest change first, and a summary."""
    a, b = old.vectors[pairs[:, 0]], new.vectors[pairs[:, 1]]
    change = (np.linalg.norm(b - a, axis=1)
              / np.maximum(np.linalg.norm(a, axis=1), 1e-12))
    change[(a == b).all(1)] = 0
    order = np.argsort(-change, kind="stable")
    return {"changed": [{**new.where(pairs[k, 1]), "change": float(change[k])}
                        for k in order if change[k] != 0],
            "change": {"median": float(np.median(change)),
                       "greatest": float(change.max())}} if len(pairs) else {}


def _accuracy(cached, points, count):
    """Return the accuracy of the neighbours in train for each split."""
    right = (voting.voted(cached, points, count).shares.argmax(1)
             == cached.labels)
    rows = {split: cached.in_split(split) & points.usable
            for split in files.SPLITS}
    return {split: float(right[some].mean())
            for split, some in rows.items() if some.any()}


def _kept(old, new, before, after, pairs):
    """Return the share of common nearest neighbours, 0..1.

    For validation and test images, among the common train images.
    """
    usable = before.usable[pairs[:, 0]] & after.usable[pairs[:, 1]]
    train = old.in_split("train")[pairs[:, 0]]
    known, queries = pairs[usable & train], pairs[usable & ~train]
    if not len(known) or not len(queries):
        return None
    new_row = np.full(len(old.row), -1)
    new_row[pairs[:, 0]] = pairs[:, 1]
    first = new_row[neighbours.nearest(
        before.points, known[:, 0], queries[:, 0], KEPT).rows]
    second = neighbours.nearest(
        after.points, known[:, 1], queries[:, 1], KEPT).rows
    return float(np.mean([len(np.intersect1d(a, b)) / len(b)
                          for a, b in zip(first, second)]))
