#!/usr/bin/env python3
"""The table of a study: a row a point, from its experiments."""
import hashlib
import json
import os

from stages.lib.common import files

COLUMNS = [
    "question", "point", "seed", "settings", "application", "side", "cut",
    "epochs", "train_images",
    "validation_images", "test_images",
    *(f"{split}{bound}" for split in files.SCORED
      for bound in ("", "_low", "_high")),
    "test_views",    # the mean of several views; empty for one
    "temperature", "calibration_error", "rows_computed", "extract_seconds",
    "train_seconds", "disk_bytes", "peak_memory_bytes", "attempts",
    "experiment", "revision", "failure"]


RIGHT = ["experiment", "labels", "right"]


def known(path):
    """Return settings -> row, a dictionary of texts, of the table at `path`.
    """
    return {row["settings"]: row for row in _read(path, COLUMNS)}


def settings(point):
    """Return the settings of a point as the table has them."""
    return json.dumps(point.settings, sort_keys=True)


def _read(path, names):
    """Return the rows of a table, dictionaries of texts; [] if missing."""
    if not os.path.exists(path):
        return []
    columns = files.read_columns(path, [], names)
    return [dict(zip(names, row)) for row in zip(
        *(columns[name] for name in names))]


def write(path, points, clone):
    """Write the table of `points` that were run in `clone` to `path`.

    Points without experiment or failure keep the row that they have in the
    table, from another machine; or they have none.  Beside it, right.csv
    tells which test images each experiment gets right, a bit an image, so
    that differences can be computed image by image.
    """
    done, shown = clone.experiments(), clone.show()
    journal, timings = clone.journal(), clone.timings()
    before, rows = known(path), []
    beside = os.path.join(os.path.dirname(path), "right.csv")
    right = {one["experiment"]: (one["labels"], one["right"])
             for one in _read(beside, RIGHT)}
    for point in points:
        kept = before.get(settings(point), {})
        row = {"question": point.question, "point": point.name,
               "seed": point.seed, "settings": settings(point)}
        if point.digest in done:
            name, baseline = done[point.digest]
            right[name] = _right(shown[name], clone)
            row.update(_scores(shown[name], clone, point), experiment=name,
                       revision=clone.revision_of(baseline),
                       **_cost(name, journal, timings))
        elif kept.get("experiment"):
            row = {**kept, **row}
        else:
            failed = [one["reason"] for one in journal
                      if one["point"].endswith("-" + point.digest)
                      and one["event"] == "failed"]
            if not failed and not kept:
                continue
            row["failure"] = failed[-1] if failed else kept["failure"]
        rows.append([_text(row.get(name)) for name in COLUMNS])
    files.write_csv(path, COLUMNS, rows)
    ours = {row[COLUMNS.index("experiment")] for row in rows}
    files.write_csv(beside, RIGHT, ([name, *right[name]]
                                    for name in sorted(ours & {*right})))


def _right(data, clone):
    """Return a digest of the test labels, and which predictions are right.

    The digest is the same whatever the classes are called.  The other are
    hexadecimal digits, a bit an image, the first image first.
    """
    columns = files.read_columns(_object(
        data, clone, "results/confusion.csv"), [], ["actual", "predicted"])
    actual, predicted = columns["actual"], columns["predicted"]
    bits = "".join("01"[a == b] for a, b in zip(actual, predicted))
    codes = {name: str(k) for k, name in enumerate(dict.fromkeys(actual))}
    labels = "\n".join(codes[name] for name in actual)
    return (hashlib.sha256(labels.encode()).hexdigest()[:8],
            f"{int('1' + bits, 2):x}")


def write_examples(path, name, points, clone):
    """Copy the picture of mistakes of the point `name` to `path`.

    Nothing is written as long as its first seed has no experiment.
    """
    done, shown = clone.experiments(), clone.show()
    for point in points:
        if (f"{point.question}.{point.name}" == name
                and point.digest in done):
            with open(_object(shown[done[point.digest][0]], clone,
                              "results/mistakes.png"), "rb") as file, (
                    files.replacing(path)) as copy:
                copy.write(file.read())
            return


def _object(data, clone, out):
    """Return the path of an out of an experiment in DVC's cache."""
    md5 = data["outs"][out]["hash"]
    return f"{clone.path}/.dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"


def _text(value):
    """Return a value of the table; 6 digits of a fraction, "" for None."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else value


def _scores(data, clone, point):
    """Return the columns that `dvc exp show` has of an experiment.

    A saved model is named as in the point, which names no path of a machine.
    """
    metrics = data["metrics"]["results/metrics.json"]["data"]
    row = {f"{split}{bound}": metrics[split][f"accuracy{bound}"]
           for split in files.SCORED for bound in ("", "_low", "_high")}
    outs, given = data["outs"], data["params"]["params.yaml"]["data"]
    cut = given["backbone"]["cut"]
    arrays = files.read_json(_object(data, clone, "features/manifest.json")
                             )["arrays"]
    return {**row, "application": point.settings.get(
                "backbone.application", given["backbone"]["application"]),
            "side": given["resize"]["side"], "cut": cut,
            "epochs": given["train"]["epochs"] + (
                0 if cut == "top" else given["tail"]["epochs"]),
            "test_views": metrics.get("test_views", {}).get("accuracy"),
            "temperature": metrics["temperature"],
            "calibration_error": metrics["test"]["calibration_error"],
            **{f"{split}_images": arrays[f"features/{split}_x.npy"]["rows"]
               for split in files.SPLITS},
            "disk_bytes": sum(out["size"] for name, out in outs.items()
                              if name.startswith("features/"))}


def _cost(name, journal, timings):
    """Return the columns about the work that an experiment took.

    Args:
        name: of the experiment.
        journal: entries of the runner, each with the `timings` before it.
        timings: records of the stages: `images` of extract, None of train.
    """
    counted = [one for one in journal if "timings" in one]
    ends = [one["timings"] for one in counted[1:]] + [len(timings)]
    mine = [(one["timings"], end) for one, end in zip(counted, ends)
            if one["point"] == name and one["event"] == "begin"]
    records = [record for first, last in mine for record
               in timings[first:last]]
    extracted = [one for one in records if one["images"] is not None]
    trained = [one["seconds"] for one in records if one["images"] is None]
    peaks = [one["peak"] for one in journal
             if one["point"] == name and one["event"] == "end"]
    return {"rows_computed": sum(one["images"] for one in extracted),
            "extract_seconds": float(sum(one["seconds"]
                                         for one in extracted)),
            "train_seconds": float(trained[-1]) if trained else None,
            "peak_memory_bytes": peaks[-1] if peaks else None,
            "attempts": len(mine)}
