#!/usr/bin/env python3
"""The paper as one HTML page without requests: pictures are in it."""
import base64
import html
import re

import markdown

from stages.lib.common import errors

FRAME = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
:root {{ --ink: #1b1b1b; --paper: #fff; --faint: #e6e6e6; --link: #00557f }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e4e4e4; --paper: #171717; --faint: #3a3a3a;
           --link: #7cc4ec }}
  img {{ background: #fff }}
}}
* {{ box-sizing: border-box }}
body {{ margin: 0 auto; max-width: 46rem; padding: 1rem; line-height: 1.55;
        font-family: Georgia, "Times New Roman", serif; color: var(--ink);
        background: var(--paper) }}
h1, h2, h3 {{ line-height: 1.2; font-family: system-ui, sans-serif }}
img {{ display: block; max-width: 100%; height: auto; margin: 1rem auto;
       border-radius: 4px }}
a {{ color: var(--link) }}
.table {{ overflow-x: auto }}
table {{ border-collapse: collapse; font-size: .9rem; margin: 1rem 0 }}
th, td {{ border-bottom: 1px solid var(--faint); padding: .25rem .6rem;
          text-align: left }}
pre {{ overflow-x: auto; padding: .7rem; background: var(--faint) }}
code {{ font-size: .88em; overflow-wrap: break-word }}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def page(text, folder):
    """Return Markdown as a page.

    Args:
        text: of the paper; its first line is the title.
        folder: in which its pictures are.

    Raises:
        ArtefactError: a picture is missing.
    """
    body = markdown.markdown(text, extensions=["tables", "fenced_code"])
    body = body.replace("<table>", '<div class="table"><table>').replace(
        "</table>", "</table></div>")
    return FRAME.format(title=html.escape(text.splitlines()[0].lstrip("# ")),
                        body=re.sub(r'src="([^"]+)"', lambda found:
                                    f'src="{inlined(folder, found[1])}"',
                                    body))


def inlined(folder, name):
    """Return a PNG as a data URL.

    Raises:
        ArtefactError: it cannot be read.
    """
    try:
        with open(f"{folder}/{name}", "rb") as file:
            return ("data:image/png;base64,"
                    + base64.b64encode(file.read()).decode())
    except OSError as error:
        raise errors.ArtefactError(
            f"{folder}/{name}: a picture of the paper cannot be read "
            f"({error.strerror})") from error
