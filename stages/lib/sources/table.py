#!/usr/bin/env python3
"""A table of images: path, label and, optionally, split of each.

A `.csv` file with a header, or `.parquet`; paths are relative to the table.
"""
import csv
import os
import unicodedata

from stages.lib.common import errors, watched_files
from stages.lib.sources import picture_files, rejected_files, split_names

USUAL = {
    "image": ("image", "filename", "file", "file_name", "path", "filepath",
              "file_path", "image_path", "img", "img_path", "image_file"),
    "label": ("label", "class", "class_name", "label_name", "category",
              "target", "y"),
    "split": ("split", "subset", "set", "partition", "dataset")}
DELIMITERS = ",;\t|"


def load(path, given):
    """Return the `dataset.Dataset` of the table `path`, rows by image path.

    Args:
        path: of the table.
        given: `params.Data`.

    Raises:
        SourceError: the table cannot be read, lacks a column, or a row has no
            image, no label or an unknown split.
    """
    header, records = _read(path)
    columns = {name: find_column(name, getattr(given.columns, name), header,
                                 path) for name in USUAL}
    listed = []
    for number, record in enumerate(records, start=1):
        image, label, split = (
            None if columns[name] is None else record[columns[name]].strip()
            for name in USUAL)
        for name, value in [("image", image), ("label", label)]:
            if not value:
                raise errors.SourceError(
                    f"{path}: row {number}: no {name} in the column "
                    f"{header[columns[name]]}; complete or remove it")
        listed.append(rejected_files.ListedFile(
            image, _split(split, number, path),
            unicodedata.normalize("NFC", label), None))
    root = os.path.dirname(path)
    watched_files.watch(watched_files.IMAGES, [
        os.path.join(root, one.file) for one in listed])
    return picture_files.load(root, listed, given.max_megapixels)


def find_column(name, wanted, header, path):
    """Return the index in `header` of the column `name`; None: no split.

    Args:
        name: a key of `USUAL`.
        wanted: data.columns.<name>, its title; None: a usual one.
        header: titles of the columns.
        path: of the table, named in errors.

    Raises:
        SourceError: it is missing, or several are possible.
    """
    known = [wanted] if wanted else USUAL[name]
    found = [title for title in header
             if title == wanted or not wanted and title.lower() in known]
    if not found and not wanted and name == "split":
        return None
    if len(found) != 1:
        what = (f"has the columns {', '.join(found)}" if found else
                f"has no column {wanted or ', '.join(known)}, but "
                f"{', '.join(header)}")
        raise errors.SourceError(
            f"{path}: {what}; name the column of the {name} in "
            f"data.columns.{name}")
    return header.index(found[0])


def _split(value, number, path):
    """Return the split of a row; train if the table has no splits."""
    if value is None:
        return "train"
    split = split_names.find(value)
    if split is None:
        near = split_names.nearest(value)
        hint = f"did you mean {near}? " if near else ""
        raise errors.SourceError(
            f"{path}: row {number}: unknown split {value!r}; {hint}known: "
            f"{', '.join(split_names.NAMES)}")
    return split


def _read(path):
    """Return the titles of the columns, and the rows as lists of texts.

    Raises:
        SourceError: the table cannot be read.
    """
    try:
        header, records = (_parquet(path) if path.lower().endswith(".parquet")
                           else _csv(path))
    except (OSError, ValueError, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise errors.SourceError(
            f"{path}: no table can be read from it ({reason})") from error
    if not records:
        raise errors.SourceError(f"{path}: the table has no rows")
    return header, records


def _csv(path):
    """Return header and rows of a text file, UTF-8, with its delimiter."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        file.seek(0)
        delimiter = max(DELIMITERS, key=first.count)
        header, *records = [row for row in csv.reader(
            file, delimiter=delimiter, strict=True) if row] or [[]]
    for number, record in enumerate(records, start=1):
        if len(record) != len(header):
            raise ValueError(f"row {number} has {len(record)} fields, the "
                             f"header {len(header)}")
    return [title.strip() for title in header], records


def _parquet(path):
    """Return header and rows of a Parquet file."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise errors.SourceError(
            f"{path}: needs pyarrow: python -m pip install pyarrow"
            ) from error
    table = parquet.read_table(path)
    columns = [["" if value is None or value != value    # NaN
                else str(value) for value in column.to_pylist()]
               for column in table.columns]
    return table.column_names, list(zip(*columns))
