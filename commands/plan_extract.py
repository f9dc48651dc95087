#!/usr/bin/env python3
"""Print what extract would compute, why, and its disk, memory and time."""
if not __package__:    # run as a file
    __import__("sys").path[0] += "/.."
    __import__("stages")    # checks this Python

from stages import extract
from stages.lib.common import command_line, stage
from stages.lib.params import params
from stages.lib.sources import rejected_files


def main():
    """Print the plan; compute nothing."""
    command_line.Parser(prog="python -m commands.plan_extract",
                        description=__doc__).parse_args()
    extract.look_up(params.read())
    summary = rejected_files.summary()
    if summary:
        print(f"extract: {summary}")


if __name__ == "__main__":
    stage.run(main, lock="extract")    # both may convert the graph
