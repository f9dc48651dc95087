#!/usr/bin/env python3
"""Run the points of a study that are missing; write the table of all.

Usage: [DATA=FOLDER] [WEIGHTS=FOLDER] python -m study [--help]

In:  study/study.yaml   questions and points
     DATA, WEIGHTS      folders that paths in it refer to
Out: study/results.csv  a row a point, written after each question; points
                        that have a row, from another machine, do not run
     study/right.csv    which test images each experiment gets right
     study/examples.png the mistakes of the point that `examples` names
     build/study        the clone in which the experiments run
"""
import argparse
import os
import sys

from stages.lib.common import errors
from study import clone, points, sources, table


def run(point, study, place):
    """Run a point in the clone `place`; return None, or why it failed.

    Args:
        point: `points.Point`.
        study: `points.Study`.
        place: `clone.Clone`.
    """
    settings = dict(point.settings)
    try:
        data = settings["data.source"]
        if data in study.sources:
            origin = study.sources[data]
            if origin.without_suspects and not os.path.exists(
                    sources.path(data, origin.seed)):
                failed = run(point._replace(
                    question="doctor", settings={
                        **settings, "data.source": origin.of}), study, place)
                if failed:
                    return failed
            settings["data.source"] = sources.make(
                data, study.sources, point.seed, place.path)
        settings = {key: sources.resolve(value) if isinstance(value, str)
                    else value for key, value in settings.items()}
    except errors.SourceError as error:
        place.note(point=point.experiment, event="failed", reason=str(error))
        return str(error)
    return place.run(point.experiment, settings)


def main():
    """Run what is missing, in the order of the study."""
    parser = argparse.ArgumentParser(
        prog="python -m study", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--file", default="study/study.yaml", help="the study (%(default)s)")
    add("--folder", default="build/study",
        help="clone in which experiments run (%(default)s)")
    add("--table", default="study/results.csv",
        help="where the results go (%(default)s)")
    add("--table-only", action="store_true",
        help="run nothing, write the table of what has been run")
    given = parser.parse_args()
    study = points.read(given.file)
    every = points.points(study)
    place, asked = clone.Clone(os.path.abspath(given.folder)), None
    if not given.table_only:
        place.update()
    known = {settings for settings, row in table.known(given.table).items()
             if not row["failure"]}
    for number, point in enumerate(every, start=1):
        if given.table_only or point.digest in place.experiments() or (
                table.settings(point) in known):
            continue
        if asked not in (None, point.question):    # 5 s on a busy machine
            table.write(given.table, every, place)
        asked = point.question
        print(f"study: {number} of {len(every)}: {point.experiment}",
              flush=True)
        failed = run(point, study, place)
        if failed:
            print(f"study: failed: {failed}", flush=True)
    table.write(given.table, every, place)
    if study.examples:
        table.write_examples(os.path.join(os.path.dirname(
            given.table), "examples.png"), study.examples, every, place)
    print(f"study: {given.table}: {len(every)} points")


if __name__ == "__main__":
    try:
        main()
    except errors.PipelineError as error:
        sys.exit(f"study: {error}")
    except KeyboardInterrupt:
        sys.exit("study: interrupted; run it again to continue")
