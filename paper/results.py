#!/usr/bin/env python3
"""The study's table as the paper asks for it: results of points, differences.
"""
import csv
import json
import math
import statistics

import numpy as np

from stages.lib.common import errors

TABLE = "study/results.csv"
RIGHT = "study/right.csv"    # which test images each experiment gets right
NORMAL = statistics.NormalDist().inv_cdf(0.975)    # 95 %, both sides
NUMBERS = ("side", "epochs", "train_images", "validation_images",
           "test_images", "validation", "validation_low", "validation_high",
           "test", "test_low", "test_high", "test_views", "temperature",
           "calibration_error", "rows_computed", "extract_seconds",
           "train_seconds", "disk_bytes", "peak_memory_bytes", "attempts")


class Result:
    """A point of a question, with one row of the table for each seed.

    Attributes:
        rows: dictionaries, column -> value; numbers are floats, or None.
    """

    def __init__(self, question, name, rows):
        """Keep the rows of the point `name` of `question`."""
        self.question, self.name, self.rows = question, name, rows

    def __getattr__(self, column):
        """Return the mean of a column of numbers over the seeds.

        Raises:
            AttributeError: it is no such column, or has no number.
        """
        if column not in NUMBERS:
            raise AttributeError(column)
        values = [row[column] for row in self.rows if row[column] is not None]
        if not values:
            raise AttributeError(f"{self.question}.{self.name}: no {column}")
        return statistics.fmean(values)

    @property
    def seeds(self):
        """Return how many seeds there are."""
        return len(self.rows)

    @property
    def cut(self):
        """Return the name of the last frozen layer, or "all"."""
        return self.rows[0]["cut"].replace("top", "all")

    @property
    def settings(self):
        """Return the settings of the point, key of params.yaml -> value."""
        return json.loads(self.rows[0]["settings"])

    def values(self, column):
        """Return a column, a value a seed."""
        return [row[column] for row in self.rows]

    @property
    def error(self):
        """Return the standard error of the mean test accuracy.

        Of the images (binomial) and of the seeds, as if independent.
        """
        images = self.rows[0]["test_images"]
        return math.sqrt(self.test * (1 - self.test) / images
                         + self.of_seeds)

    @property
    def of_seeds(self):
        """Return the variance of the mean that is due to the seeds."""
        values = self.values("test")
        return (statistics.variance(values) / len(values)
                if len(values) > 1 else 0.0)

    @property
    def extraction(self):
        """Return the row with most rows computed: the one that extracted."""
        return max(self.rows, key=lambda row: row["rows_computed"])


class Study:
    """The table at `path`.

    Attributes:
        rows: those with a result; failures: those without one.
    """

    def __init__(self, path=TABLE):
        """Read the table.

        Raises:
            ArtefactError: it is missing, or no table of a study.
        """
        try:
            with open(path, encoding="utf-8", newline="") as file:
                rows = [_parsed(row) for row in csv.DictReader(file)]
            with open(RIGHT, encoding="utf-8", newline="") as file:
                self.right = {row["experiment"]: row
                              for row in csv.DictReader(file)}
        except (OSError, ValueError, KeyError) as error:
            raise errors.ArtefactError(
                f"{path}: cannot be used ({error}); run `make study`"
            ) from error
        self.rows = [row for row in rows if not row["failure"]]
        self.failures = [row for row in rows if row["failure"]]
        self.all = {}
        for row in self.rows:
            self.all.setdefault((row["question"], row["point"]), []).append(
                row)

    def has(self, name):
        """Return whether the point "question.point" has a result."""
        return tuple(name.split(".")) in self.all

    def point(self, name):
        """Return the `Result` of "question.point".

        Raises:
            ArtefactError: there is none.
        """
        question, _, point = name.partition(".")
        if (question, point) not in self.all:
            raise errors.ArtefactError(
                f"{TABLE}: no result of {name}, which the paper needs; run "
                "`make study`")
        return Result(question, point, self.all[question, point])

    def points(self, question):
        """Return the `Result` of each point of a question, in its order."""
        return [Result(asked, name, rows) for (asked, name), rows
                in self.all.items() if asked == question]

    def total(self, column):
        """Return the sum of a column of numbers over all experiments."""
        return sum({row["experiment"]: row[column] or 0
                    for row in self.rows}.values())

    def by_depth(self):
        """Return the points about depth, fewest frozen layers first."""
        found = self.points("depth") + self.points("depth_more")
        return sorted(found, key=lambda one: (
            one.cut == "all", int("0" + "".join(filter(
                str.isdigit, one.cut)))))

    def gain(self, name, than):
        """Return the difference in test accuracy, with its 95 % interval.

        Image by image: what counts is how much the difference varies over
        the test images, which both saw, and over the seeds.

        Args:
            name, than: points, "question.point".

        Returns:
            Difference, lower and upper bound.

        Raises:
            ArtefactError: a point is missing, or the test images differ.
        """
        a, b = self.point(name), self.point(than)
        (of_a, labels), (of_b, others) = map(self._right, (a, b))
        if labels != others:
            raise errors.ArtefactError(
                f"{TABLE}: {name} and {than} have other test images")
        differences = of_a - of_b
        width = NORMAL * math.sqrt(differences.var() / len(differences)
                                   + a.of_seeds + b.of_seeds)
        middle = float(differences.mean())
        return middle, middle - width, middle + width

    def _right(self, result):
        """Return how often each test image is right, and the labels' digest.

        Args:
            result: `Result`.

        Returns:
            float (n,), means over the seeds; a text.
        """
        found = [self.right[row["experiment"]] for row in result.rows]
        return np.mean([[int(bit) for bit in f"{int(one['right'], 16):b}"[1:]]
                        for one in found], axis=0), found[0]["labels"]


def _parsed(row):
    """Return a row with its numbers as floats, None where it is empty."""
    return {name: (float(value) if value else None) if name in NUMBERS
            else value for name, value in row.items()}
