#!/usr/bin/env python3
"""The study: questions, their points, and the table of their results."""
from stages.lib.common import environment

environment.check()
