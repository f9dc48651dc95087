#!/usr/bin/env python3
"""What people run: python -m commands.<name> --help."""
from stages.lib.common import environment

environment.check()
