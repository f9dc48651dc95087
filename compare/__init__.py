#!/usr/bin/env python3
"""The stages of compare/dvc.yaml."""
from stages.lib.common import environment

environment.check()
