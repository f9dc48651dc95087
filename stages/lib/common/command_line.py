#!/usr/bin/env python3
"""The command line of commands."""
import argparse


class Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line."""

    def error(self, message):
        """Print `message` without the usage; exit with status 2."""
        name = self.prog.split(".")[-1]
        self.exit(2, f"{name}: {message}; see --help\n")
