#!/usr/bin/env python3
"""Take every application through the pipeline's parts, on random weights.

Usage: tests/sweep.py [APPLICATION ...]

Results are kept in build/sweep.json, so that an interrupted sweep resumes;
at the end docs/applications.md is written.  Keras 3 gets an environment,
build/keras3, from python3.11 or python3.12.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

import parts  # noqa: E402
from stages.lib.params import names  # noqa: E402

DONE = os.path.join(ROOT, "build", "sweep.json")
TABLE = os.path.join(ROOT, "docs", "applications.md")
ABOUT = """# Every application

Written by `make sweep`. It checks every class that `backbone.application`
accepts, with random weights, at the smallest side that it accepts of
{sides}. The cut is the valid cut in the middle. The
engine is TensorFlow Lite, or TensorFlow if TensorFlow Lite cannot convert the
frozen part.

The next three columns are relative to the largest value:

- engine - Keras: features of the engine and of Keras. The limit is {allowed:g}.
- fused - cached: features of the fused model, saved and loaded, and the cached
  features. The limit is the same.
- outputs: logits of the fused model and of head(cached features), after one
  training step. The limit is {outputs:g}.

Some random weights amplify rounding. Then a second value in parentheses is used.
For features it is the difference between Keras run eagerly and as a graph, and
the limit is three times this value. For outputs it is the difference to
head(features of the fused model), with the same limit.

The fused model is built from the trained layers, saved and loaded, and a base
without the trained weights. It must contain the trained weights exactly.

The last column is the `.h5` file of the stage `export`: the largest difference of its
probabilities to those of the fused model, in Keras 2.15 / in Keras {keras3}, relative to
the largest. The head is linear, without normalisation. The limit is that of outputs, or
ten times the difference between Keras 2.15 run eagerly and as a graph. Keras 3 loads
the deepest ones (ResNetRS270, 350 and 420) only after `sys.setrecursionlimit(10000)`.

| application | side | cuts | cut | engine | engine - Keras | fused - cached | outputs | exported `.h5` |
|---|---|---|---|---|---|---|---|---|
"""    # noqa: E501: a table


def keras3():
    """Return the Python of an environment with Keras 3, and its version."""
    python = os.path.join(ROOT, "build", "keras3", "bin", "python")
    if not os.path.exists(python):
        found = shutil.which("python3.11") or shutil.which("python3.12")
        if not found:
            sys.exit("sweep: needs python3.11 or python3.12, for Keras 3")
        subprocess.run([found, "-m", "venv", f"{ROOT}/build/keras3"],
                       check=True, cwd=tempfile.gettempdir())
        subprocess.run([python, "-m", "pip", "install", "--quiet",
                        "tensorflow-cpu>=2.16"], check=True)
    return python, subprocess.run(
        [python, "-m", "pip", "show", "keras"], check=True, text=True,
        stdout=subprocess.PIPE).stdout.split("Version: ")[1].split()[0]


def write_table(done, version):
    """Write docs/applications.md; `version` is that of Keras 3."""
    rows = [f"| {name} | {r['side']} | {r['cuts']} | `{r['cut']}` | "
            f"{r['engine']} | {r['engine_difference']:.1e}"
            + (f" ({r['keras_difference']:.1e})"
               if "keras_difference" in r else "") + " | "
            f"{r['fused_difference']:.1e} | {r['output_difference']:.1e}"
            + (f" ({r['own_difference']:.1e})"
               if "own_difference" in r else "")
            + f" | {r['export']['keras2']:.1e} / {r['export']['keras3']:.1e}"
            + " |"
            if "side" in r else
            f"| {name} | FAILED: {r['error']} | | | | | | | |"
            for name, r in sorted(done.items())]
    with open(TABLE, "w", encoding="utf-8") as file:
        file.write(ABOUT.format(sides=", ".join(map(str, parts.SIDES)),
                                allowed=parts.ALLOWED, keras3=version,
                                outputs=parts.ALLOWED_OUTPUT)
                   + "\n".join(rows) + "\n")


def checked(name):
    """Return what `parts.check` measures, or {"error": its last line}."""
    result = {}
    for part in parts.PARTS:
        run = subprocess.run(
            [sys.executable, __file__, "--part", part, name], cwd=ROOT,
            text=True, capture_output=True, check=False)
        try:
            result.update(json.loads(run.stdout.splitlines()[-1]))
        except (IndexError, ValueError):
            lines = run.stderr.splitlines()[-1:]
            return {"error": f"{part}: {' '.join(lines)} ({run.returncode})"}
    return result


def main(given):
    """Check `given`, or all that are not done, each part in its own process.
    """
    os.makedirs(os.path.dirname(DONE), exist_ok=True)
    python, version = keras3()
    if given[:1] == ["--part"]:    # and the part, and the application
        print(json.dumps(parts.check(given[2], python, given[1:2])))
        return
    done = {}
    if os.path.exists(DONE):
        with open(DONE, encoding="utf-8") as file:
            done = json.load(file)
    for name in given or sorted(names.APPLICATIONS):
        if "side" in done.get(name, ()):
            continue
        done[name] = checked(name)
        print(name, json.dumps(done[name]), flush=True)
        with open(DONE, "w", encoding="utf-8") as file:
            json.dump(done, file, indent=1)
    write_table(done, version)
    failed = [name for name, result in done.items() if "side" not in result]
    if failed:
        sys.exit(f"sweep: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main(sys.argv[1:])
