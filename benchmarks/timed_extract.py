#!/usr/bin/env python3
"""Run `extract` in the current folder; print its times and memory as JSON.

Start-up is imports, parameters, building the backbone, loading (or
converting) the graph; the rest is the stage's work on images.
"""
import json
import os
import sys
import threading
import time

BEGIN = time.perf_counter()
sys.path.insert(0, os.getcwd())


def anonymous():
    """Return the anonymous memory of this process in MB (Linux)."""
    with open("/proc/self/status", encoding="utf-8") as file:
        line = next(line for line in file if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


def main():
    """Run the stage; time the functions of its start-up."""
    from stages import extract
    from stages.lib.backbone import backbone
    from stages.lib.engines import engine
    from stages.lib.params import params
    spent = [time.perf_counter() - BEGIN]
    peak, ended = [0.0], threading.Event()

    def clocked(function):
        """Return `function`, its seconds counted as start-up."""
        def call(*arguments):
            """Call it and record the seconds."""
            begin = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                spent.append(time.perf_counter() - begin)
        return call

    def watch():
        """Update the peak of anonymous memory."""
        while not ended.wait(0.05):
            peak[0] = max(peak[0], anonymous())

    for module, name in [(params, "read"), (backbone, "build"),
                         (backbone, "extractor"), (engine, "load")]:
        setattr(module, name, clocked(getattr(module, name)))
    watcher = threading.Thread(target=watch)
    watcher.start()
    extract.main()
    ended.set()
    watcher.join()
    total = time.perf_counter() - BEGIN
    print(json.dumps({"start_up": sum(spent), "work": total - sum(spent),
                      "anonymous_mb": peak[0]}))


if __name__ == "__main__":
    main()
