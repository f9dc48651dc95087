#!/usr/bin/env python3
"""Names of classes as pictures show them: short, in fonts that are there."""
from matplotlib import font_manager

from stages.lib.common import text

LETTERS = 20    # shown of a name
DEFAULT = "DejaVu Sans"    # Matplotlib brings it


def short(name):
    """Return both ends of a long name."""
    half = LETTERS // 2
    return name if len(name) <= LETTERS else (
        f"{name[:half]}…{name[1 - half:]}")


def fit(names):
    r"""Return the names to draw, and the font families to draw them in.

    Letters that the default font lacks are taken from other fonts; those in
    no font become escapes such as \u732b instead of empty boxes.  Math is not
    parsed if the text is drawn with `parse_math=False`.
    """
    shown = [text.escaped(name) for name in names]
    families, missing = [DEFAULT], set("".join(shown)) - _letters(DEFAULT)
    others = {font.name for font in font_manager.fontManager.ttflist
              if not font.name.startswith(("STIX", "cm"))} if missing else ()
    for family in sorted(others):
        found = missing & _letters(family)
        if found:
            families.append(family)
            missing -= found
    return [short("".join(ascii(one)[1:-1] if one in missing else one
                          for one in name)) for name in shown], families


def _letters(family):
    """Return the characters of a font family; none if it cannot be read."""
    try:
        path = font_manager.findfont(font_manager.FontProperties([family]))
        return set(map(chr, font_manager.get_font(path).get_charmap()))
    except (OSError, RuntimeError, ValueError):    # pictures, not outlines
        return set()
