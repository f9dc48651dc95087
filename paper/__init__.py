#!/usr/bin/env python3
"""The paper: text, tables and figures, filled in from the study's table."""
from stages.lib.common import environment

environment.check()
