#!/usr/bin/env python3
"""How the paper writes numbers."""
import re

CODE = re.compile(r"```.*?```|`[^`]*`", re.S)
EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.S)
SHOWN = re.compile(r"\{\{|\{%\s*set\b")    # not: if, for
COMMENT = re.compile(r"\{#.*?#\}", re.S)
# Names, shapes of an argument, publications and addresses may have digits.
NAMES = re.compile(
    r"CIFAR-\d+|MobileNetV\d|EfficientNet-Lite\d|\w+/\w+#\d+|H5|float\d+|"
    r"\((19|20)\d\d\)|, (19|20)\d\d\.|95 %|arXiv:[\d.]+|conv_pw_\d+")


def percent(share):
    """Return a share as a percentage with one digit, "88.1 %"."""
    return f"{100 * share:.1f} %"


def between(result):
    """Return the mean accuracy of a point with its spread or interval.

    Of several seeds lowest and highest, of one the interval of its images.
    """
    if result.seeds > 1:
        values = result.values("test")
        return (f"{percent(result.test)} ({100 * min(values):.1f} to "
                f"{100 * max(values):.1f})")
    row = result.rows[0]
    return (f"{percent(row['test'])} [{100 * row['test_low']:.1f}, "
            f"{100 * row['test_high']:.1f}]")


def difference(gain):
    """Return a difference in points with its interval, "+1.9 [+1.0, +2.8]".

    Args:
        gain: difference, lower and upper bound, shares.
    """
    middle, low, high = (
        f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")
        for value in gain)
    return f"{middle} [{low}, {high}]"


def verdict(gain):
    """Return a difference as a phrase, which says whether it is one.

    Args:
        gain: as in `difference`.
    """
    _, low, high = gain
    sure = "" if low > 0 or high < 0 else ", which cannot be told from chance"
    return f"{difference(gain).replace(' [', ' points [')}{sure}"


def seconds(value):
    """Return seconds with about two digits."""
    return (f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"
            if value >= 1 else f"{value:.2g} s")


def hours(value):
    """Return seconds as hours with one digit, "1.5 hours"."""
    return f"{value / 3600:.1f} hours"


def size(value):
    """Return bytes as MB or GB."""
    return (f"{value / 1e9:.1f} GB" if value >= 1e9 else
            f"{value / 1e6:.0f} MB" if value >= 1e6 else
            f"{value / 1e3:.1f} kB")


def count(value):
    """Return a whole number with separators, "10,000"."""
    return f"{round(value):,}"


def ratio(row):
    """Return how many times longer an epoch takes without the cache.

    Args:
        row: of study/caching.csv.
    """
    value = row["loop_epoch_seconds"] / row["cached_epoch_seconds"]
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def pays(row):
    """Return after how many epochs the pass that fills the cache is saved.

    Args:
        row: of study/caching.csv.
    """
    saved = row["loop_epoch_seconds"] - row["cached_epoch_seconds"]
    return (f"{row['write_seconds'] / saved:.1f} epochs" if saved > 0
            else "never")


def reason(text):
    """Return why a point failed, short enough for a sentence."""
    return text.replace("|", "/")[:160]


def typed_numbers(template):
    """Return the numbers of a template that are typed, not filled in.

    Code, publications and names of `NAMES` may have digits; expressions may
    have them in names and strings only.
    """
    body = template.partition("\n## References")[0]
    found = []
    for expression in filter(SHOWN.match, EXPRESSION.findall(body)):
        bare = re.sub(r"\"[^\"]*\"|'[^']*'|[A-Za-z_]\w*|\[0\]", "",
                      expression)
        found += re.findall(r"\d[\d.,]*", bare)
    plain = NAMES.sub("", CODE.sub("", EXPRESSION.sub(
        "", COMMENT.sub("", body))))
    return found + re.findall(r"\d[\d.,]*", plain)
