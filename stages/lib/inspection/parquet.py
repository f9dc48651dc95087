#!/usr/bin/env python3
"""One Parquet file of features and findings, for other programs."""
import hashlib
import io
import json

import numpy as np
from PIL import Image

from stages.lib.common import arrays, files, progress
from stages.lib.images import prepared
from stages.lib.inspection import findings_by_row, head_predictions, sprite

ROWS = 4096      # in memory at a time, a row group
SIDE = 96        # pixels, the longest of a picture
QUALITY = 90     # of its JPEG
OPTIONS = ("neighbours", "near", "false_suspects", "top", "points",
           "projection", "seed")


def schema(cached, given):
    """Return the Arrow schema: docs/parquet.md describes the columns.

    Its metadata are JSON: `key`, the cache key of the features; `doctor`, the
    options that the findings depend on; `huggingface`, which columns are
    images and classes, as the package `datasets` reads it.
    """
    import pyarrow as pa    # an extra
    number, text, real = pa.int64(), pa.string(), pa.float32()
    depth, classes = cached.vectors.shape[1], len(cached.names)
    columns = {
        "id": number, "split": text, "row": number,
        "image": pa.struct({"bytes": pa.binary(), "path": text}),
        "path": text, "sha256": text, "label": number, "label_name": text,
        "predicted": number, "predicted_name": text, "probability": real,
        "belief": pa.list_(real, classes), "label_score": real,
        "suspected_label": pa.bool_(), "leak": pa.bool_(),
        "duplicate": pa.bool_(), "far": pa.bool_(), "similarity": real,
        "x": real, "y": real, "neighbours": pa.struct({
            "ids": pa.list_(number), "distances": pa.list_(real)}),
        "features": pa.list_(real, depth)}
    label = {"_type": "ClassLabel", "names": cached.names}
    metadata = {
        "key": cached.manifest["key"],
        "doctor": {name: getattr(given, name) for name in OPTIONS},
        "huggingface": {"info": {"features": {
            "image": {"_type": "Image"}, "label": label,
            "predicted": label}}}}
    return pa.schema(list(columns.items()), {
        name: json.dumps(value) for name, value in metadata.items()})


def write(path, cached, examined, flat, given):
    """Write the file; the same features and options give the same bytes.

    Args:
        path: of the file.
        cached: `cached_features.CachedFeatures`.
        examined: `doctor.Examined`.
        flat: float32 (n, 2), the projection; NaN where there is none.
        given: the options of the command.

    Raises:
        ArtefactError: the images do not belong to the features.
        StorageError: as `files.replacing`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    wanted, count = schema(cached, given), len(cached.labels)
    known = findings_by_row.columns(cached, examined)
    known["x"], known["y"] = flat.T
    known["predicted"], known["probability"] = head_predictions.predictions(
        cached, np.arange(count))
    with files.replacing(path) as file, \
            pq.ParquetWriter(file, wanted, compression="zstd", use_dictionary=[
                "split", "label_name", "predicted_name"]) as out, \
            progress.bar("parquet", count) as bar:
        for split in files.SPLITS:
            rows = np.flatnonzero(cached.in_split(split))
            source = _Source(split, len(rows))
            for first in range(0, len(rows), ROWS):
                part = rows[first:first + ROWS]
                block = {**_block(cached, examined, known, part),
                         **source.columns(cached.row[part])}
                out.write_batch(pa.record_batch(
                    [_array(block[field.name], field.type, len(part))
                     for field in wanted], wanted), row_group_size=ROWS)
                bar.update(len(part))


class _Source:
    """What the images of a split are, and their pictures."""

    def __init__(self, split, count):
        """Open the `split` of `count` images."""
        self._split = split
        self._rows = prepared.rows(split)
        self._pixels = arrays.open_array(f"data/prepared/{split}_x.npy", 4)
        self._pictures = sprite.pictures(split, count)

    def columns(self, rows):
        """Return the columns of these rows as lists."""
        found = [self._rows[row] for row in rows]
        return {"split": [self._split] * len(rows), "row": rows,
                "path": [one["image"] for one in found],
                "sha256": [one.get("sha256") or hashlib.sha256(
                    self._pixels[row]).hexdigest()
                    for row, one in zip(rows, found)],
                "image": [{"bytes": _jpeg(self._pictures[row]), "path": None}
                          for row in rows]}


def _block(cached, examined, known, rows):
    """Return the columns of `rows` that come from features and findings."""
    names = np.array(cached.names, object)
    block = {name: None if values is None else values[rows]
             for name, values in known.items()}
    predicted = block["predicted"]
    near, similarity = block.pop("near"), block.pop("near_similarity")
    return {**block, "id": rows, "label": cached.labels[rows],
            "label_name": names[cached.labels[rows]],
            "predicted_name": None if predicted is None else names[predicted],
            "belief": examined.suspects.predicted[rows].astype(np.float32),
            "neighbours": [
                {"ids": ids[ids >= 0], "distances": 1 - one[ids >= 0]}
                for ids, one in zip(near, similarity)],
            "features": cached.vectors[rows]}


def _array(values, kind, count):
    """Return `values` as an Arrow array; NaN of a number per row is null.

    Args:
        values: an array, a list, or None for nulls only.
        kind: its Arrow type.
        count: of rows.
    """
    import pyarrow as pa
    if values is None:
        return pa.nulls(count, kind)
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(
            pa.array(values.ravel(), kind.value_type), kind.list_size)
    return pa.array(values, kind, from_pandas=pa.types.is_floating(kind))


def _jpeg(pixels):
    """Return the bytes of a JPEG of `pixels`, at most `SIDE` pixels wide."""
    image = Image.fromarray(np.asarray(pixels))
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()
