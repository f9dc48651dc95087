#!/usr/bin/env python3
"""Progress of long work: images per second and time left."""
from tqdm import tqdm


def bar(title, total):
    """Return a progress bar of `total` images, visible on terminals only."""
    return tqdm(total=total, desc=title, unit="img", disable=None)
