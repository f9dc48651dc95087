#!/usr/bin/env python3
"""Names as text on one line, for tables, pictures and terminals."""
import re

# Control characters, line separators, halves of characters, and backslash.
SPECIAL = re.compile(
    "[\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
ESCAPES = re.compile(
    r"\\(?:[\\tnr]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")


def escaped(name):
    r"""Return `name` without line ends and tabs, as Python writes them.

    A tab becomes \t, a newline \n, a backslash \\; letters of all scripts
    stay.  Different names stay different.
    """
    return SPECIAL.sub(
        lambda found: found[0].encode("unicode_escape").decode(), name)


def unescaped(name):
    """Return the name that `escaped` made `name` of."""
    return ESCAPES.sub(
        lambda found: found[0].encode().decode("unicode_escape"), name)
