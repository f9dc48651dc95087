#!/usr/bin/env python3
"""The table of a study: a row a point, from its experiments."""
import json

from stages.lib.common import files

SPLITS = ("validation", "test")
COLUMNS = [
    "question", "point", "seed", "settings", "train_images",
    *(f"{split}{bound}" for split in SPLITS for bound in ("", "_low",
                                                          "_high")),
    "temperature", "calibration_error", "rows_computed", "extract_seconds",
    "train_seconds", "disk_bytes", "peak_memory_bytes", "attempts",
    "experiment", "revision", "failure"]
MEASURED = ("rows_computed", "extract_seconds", "train_seconds",
            "peak_memory_bytes", "attempts", "revision")


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
    outs = data["outs"]
    manifest = outs["features/manifest.json"]["hash"]
    arrays = files.read_json(f"{clone.path}/.dvc/cache/files/md5/"
                             f"{manifest[:2]}/{manifest[2:]}")["arrays"]
    return {**row, "temperature": metrics["temperature"],
            "calibration_error": metrics["test"]["calibration_error"],
            "train_images": arrays["features/train_x.npy"]["rows"],
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
            "train_seconds": float(sum(trained)) if trained else None,
            "peak_memory_bytes": peaks[-1] if peaks else None,
            "attempts": len(mine)}
