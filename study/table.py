#!/usr/bin/env python3
"""The table of a study: a row a point, from its experiments."""
import json

from stages.lib.common import files

SPLITS = ("validation", "test")
COLUMNS = [
    "question", "point", "seed", "settings", "application", "side", "cut",
    "epochs", "train_images",
    "validation_images", "test_images",
    *(f"{split}{bound}" for split in SPLITS for bound in ("", "_low",
                                                          "_high")),
    "temperature", "calibration_error", "rows_computed", "extract_seconds",
    "train_seconds", "disk_bytes", "peak_memory_bytes", "attempts",
    "experiment", "revision", "failure"]


def write(path, points, clone):
    """Write the table of `points` that were run in `clone` to `path`.

    Points that have neither an experiment nor a failure have no row.
    """
    done, shown = clone.experiments(), clone.show()
    journal, timings = clone.journal(), clone.timings()
    rows = []
    for point in points:
        row = {"question": point.question, "point": point.name,
               "seed": point.seed,
               "settings": json.dumps(point.settings, sort_keys=True)}
        if point.digest in done:
            name, baseline = done[point.digest]
            row.update(_scores(shown[name], clone), experiment=name,
                       revision=clone.revision_of(baseline),
                       **_cost(name, journal, timings))
        else:
            failed = [one["reason"] for one in journal
                      if one["point"].endswith("-" + point.digest)
                      and one["event"] == "failed"]
            if not failed:
                continue
            row["failure"] = failed[-1]
        rows.append([_text(row.get(name)) for name in COLUMNS])
    files.write_csv(path, COLUMNS, rows)


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


def _scores(data, clone):
    """Return the columns that `dvc exp show` has of an experiment."""
    metrics = data["metrics"]["results/metrics.json"]["data"]
    row = {f"{split}{bound}": metrics[split][f"accuracy{bound}"]
           for split in SPLITS for bound in ("", "_low", "_high")}
    outs, given = data["outs"], data["params"]["params.yaml"]["data"]
    cut = given["backbone"]["cut"]
    arrays = files.read_json(_object(data, clone, "features/manifest.json")
                             )["arrays"]
    return {**row, "application": given["backbone"]["application"],
            "side": given["resize"]["side"], "cut": cut,
            "epochs": given["train"]["epochs"] + (
                0 if cut == "top" else given["tail"]["epochs"]),
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
    begins = [one for one in journal if one["event"] == "begin"]
    ends = [one["timings"] for one in begins[1:]] + [len(timings)]
    mine = [(one["timings"], end) for one, end in zip(begins, ends)
            if one["point"] == name]
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
