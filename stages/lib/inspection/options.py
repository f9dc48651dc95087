#!/usr/bin/env python3
"""The options of `commands/inspect_features.py`."""
import argparse
import importlib.util

from stages.lib.common import command_line
from stages.lib.inspection import projection

PLOTS = "results/inspect"
KINDS = ("nan", "dead", "conflicts", "leaks", "duplicates", "near_leaks",
         "near_duplicates", "label_errors")


def _number(kind, low, high):
    """Return a function from text to a number of `kind` in low..high."""
    def parse(text):
        """Return the number in `text`."""
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not in {low}..{high}")
        return value
    parse.__name__ = kind.__name__
    return parse


def read():
    """Return the options of the command line, or exit with status 2."""
    parser = command_line.Parser(
        prog="python -m commands.inspect_features",
        description="Examine the cached features")
    add = parser.add_argument
    add("--json", action="store_true", help="findings as JSON; at most "
        "--top pairs and outliers, all of the others")
    add("--top", type=_number(int, 1, 10**6), default=10,
        help="lines per list (%(default)s)")
    add("--fail-on", type=_kinds, default=[], metavar="KIND,…",
        help=f"end with status 1 if there are any: {', '.join(KINDS)}")
    add("--neighbours", type=_number(int, 1, 10**4), default=100,
        help="train images that vote on a class (%(default)s)")
    add("--near", type=_number(float, 0, 2), default=0.1,
        help="greatest cosine distance of standardised features between near "
        "duplicates (%(default)s)")
    add("--false-suspects", type=_number(float, 0, 1), default=0.2,
        metavar="SHARE", help="greatest expected share of false ones among "
        "the suspected label errors; up to --top more are listed, marked "
        "(%(default)s)")
    add("--html", metavar="OUT", help="write a page to explore")
    add("--projector", metavar="DIR",
        help="write files for TensorBoard's projector")
    add("--plots", action="store_true",
        help=f"write {PLOTS}/*/*.csv for `dvc plots show`")
    add("--parquet", metavar="OUT", help="write features and findings, a row "
        "an image, for other programs: docs/parquet.md")
    add("--rev", help="compare with the features of this DVC revision")
    add("--points", type=_number(int, 1, 100000), default=10000,
        help="images in page, plot and projector; of a Parquet file, those "
        "that are projected together (%(default)s)")
    add("--projection", choices=projection.KINDS, default="tsne",
        help="how features become two dimensions (%(default)s)")
    add("--seed", type=_number(int, 0, 2**32 - 1), default=0,
        help="of sample and projection (%(default)s)")
    add("--dead", type=_number(float, 0, 1e9), default=1e-6,
        help="greatest standard deviation of a dead dimension (%(default)s)")
    given = parser.parse_args()
    if given.html:
        _require(parser, "plotly", "--html")
    if given.parquet:
        _require(parser, "pyarrow", "--parquet")
    if given.projection == "umap":
        _require(parser, "umap", "--projection umap")
    return given


def _require(parser, module, option):
    """Exit if the package that `option` needs is not installed."""
    packages = {"umap": "umap-learn"}
    if not importlib.util.find_spec(module):
        parser.error(f"{option} needs a package: pip install "
                     f"{packages.get(module, module)}")


def _kinds(text):
    """Return the kinds in `text`, separated by commas."""
    found = [name.replace("-", "_") for name in text.split(",")]
    for name in found:
        if name not in KINDS:
            raise argparse.ArgumentTypeError(
                f"unknown kind {name!r}; known: {', '.join(KINDS)}")
    return found
