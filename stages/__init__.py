#!/usr/bin/env python3
"""The stages of the pipeline: python -m stages.<name>."""
from stages.lib.common import environment

environment.check()
