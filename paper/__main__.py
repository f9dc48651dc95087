#!/usr/bin/env python3
"""Write the paper from the study's table: text, figures, page, README's table.

Usage: python -m paper

In:  study/{results,right,caching}.csv      what was measured
     study/examples.png                     images that the model mistakes
     paper/paper.md.j2                      the text, without numbers
Out: paper/paper.md, paper/paper.html, paper/figures/*.png
     README.md                              its table of results
"""
import csv
import os
import re
import shutil
import sys

import jinja2

from paper import figures, page, results, text
from stages.lib.common import errors, files

FOLDER = "paper"
CACHING = "study/caching.csv"
MARKS = ("<!-- results: written by make paper -->", "<!-- end of results -->")


def caching():
    """Return the rows of the table of epochs with and without cache.

    Raises:
        ArtefactError: it is missing or damaged.
    """
    try:
        with open(CACHING, encoding="utf-8", newline="") as file:
            return [{name: value if name == "cut" else float(value)
                     for name, value in row.items()}
                    for row in csv.DictReader(file)]
    except (OSError, ValueError) as error:
        raise errors.ArtefactError(
            f"{CACHING}: cannot be used ({error}); run "
            "`python benchmarks/caching.py`") from error


def fill(name, study, rows):
    """Return a template of the paper, filled in.

    Args:
        name: of the file in paper/.
        study: `results.Study`.
        rows: `caching`.

    Raises:
        ArtefactError: the template asks for what there is not.
    """
    surroundings = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True)
    surroundings.filters.update(
        percent=text.percent, seconds=text.seconds, size=text.size,
        count=text.count, between=text.between, difference=text.difference,
        verdict=text.verdict, ratio=text.ratio, pays=text.pays,
        reason=text.reason, hours=text.hours)
    surroundings.globals.update(
        study=study, p=study.point, has=study.has, gain=study.gain,
        points=study.points, caching={row["cut"]: row for row in rows},
        cuts=rows, figures=figures.BARS)
    try:
        return surroundings.get_template(name).render()
    except jinja2.TemplateError as error:
        raise errors.ArtefactError(f"{FOLDER}/{name}: {error}") from error


def write_table(path, table):
    """Put the table between its marks in the file at `path`.

    Raises:
        ArtefactError: the marks are missing.
    """
    with open(path, encoding="utf-8") as file:
        whole = file.read()
    between = re.compile(f"{MARKS[0]}.*?{MARKS[1]}".replace("(", r"\("),
                         re.S)
    if not between.search(whole):
        raise errors.ArtefactError(f"{path}: has no line {MARKS[0]}")
    files.write_text(path, between.sub(
        lambda _: f"{MARKS[0]}\n{table.strip()}\n{MARKS[1]}", whole))


def main():
    """Write all that is made from the table."""
    study, rows = results.Study(), caching()
    os.makedirs(f"{FOLDER}/figures", exist_ok=True)
    figures.draw(study, rows, f"{FOLDER}/figures")
    shutil.copyfile("study/examples.png", f"{FOLDER}/figures/examples.png")
    whole = fill("paper.md.j2", study, rows)
    files.write_text(f"{FOLDER}/paper.md", whole)
    files.write_text(f"{FOLDER}/paper.html", page.page(whole, FOLDER))
    write_table("README.md", fill("table.md.j2", study, rows))
    print(f"paper: {FOLDER}/paper.md, {FOLDER}/paper.html, README.md; "
          f"{len(study.rows)} rows of {results.TABLE}")


if __name__ == "__main__":
    try:
        main()
    except (errors.PipelineError, OSError) as error:
        sys.exit(f"paper: {error}")
