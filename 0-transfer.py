#!/usr/bin/env python3
"""CIFAR-10 by transfer learning from an application of Keras Applications.

As a script, it runs the pipeline (`dvc repro`), writes `cifar10.h5` to the
current directory, prints the test accuracy, and fails if it is below 87 %.
"""
try:
    from tensorflow import keras as K
except ImportError as error:
    if __name__ != "__main__":
        raise
    raise SystemExit(
        f"0-transfer.py: {__import__('sys').executable} cannot import "
        f"TensorFlow 2.15 ({error}); run `make setup` once, then "
        "`. .venv/bin/activate`") from None

LEAST_ACCURACY = 0.87


def preprocess_data(X, Y):
    """Prepare images and labels for the model in `cifar10.h5`.

    The model itself resizes the images and scales their pixels.

    Args:
        X: numpy.ndarray (m, 32, 32, 3), RGB, 0..255.
        Y: numpy.ndarray (m,) or (m, 1), labels 0..9.

    Returns:
        X_p: float32 numpy.ndarray (m, 32, 32, 3), the same values.
        Y_p: float32 numpy.ndarray (m, 10), one-hot.
    """
    return X.astype("float32"), K.utils.to_categorical(Y, 10)


def copy(source, target):
    """Copy the file `source` to `target`, completely or not at all."""
    os = __import__("os")
    part = f"{target}.part"
    try:
        __import__("shutil").copyfile(source, part)
        os.replace(part, target)
    except OSError as error:
        if os.path.exists(part):
            os.unlink(part)
        __import__("sys").exit(f"0-transfer.py: {target} cannot be written "
                               f"here ({error.strerror})")


def check_intact(project, *outs):
    """Exit if one of `outs` was damaged after a stage of `project` wrote it.
    """
    subprocess, sys = __import__("subprocess"), __import__("sys")
    command = [sys.executable, "-m", "commands.verify_artefacts", *outs]
    if subprocess.run(command, cwd=project, check=False,
                      stdout=subprocess.DEVNULL).returncode:
        sys.exit("0-transfer.py: damaged, see above; no new cifar10.h5 is "
                 "written")


def main():
    """Run the pipeline and copy its model to the current directory."""
    os, sys = __import__("os"), __import__("sys")
    project = os.path.dirname(os.path.abspath(__file__))
    binaries = os.path.dirname(sys.executable)
    path = os.pathsep.join([binaries, os.environ.get("PATH", os.defpath)])
    done = __import__("subprocess").run(
        [sys.executable, "-m", "dvc", "repro"], cwd=project, check=False,
        env={**os.environ, "PATH": path, "PYTHONUTF8": "1"})
    if done.returncode:
        is_git = os.path.exists(os.path.join(project, ".git"))
        sys.exit("0-transfer.py: the pipeline failed, see above; no new "
                 "cifar10.h5 is written" + ("" if is_git else (
                     f"; DVC needs a git repository: git init {project}")))
    output = __import__("dvc.api").api.params_show(
        repo=project)["fuse"]["output"]
    check_intact(project, output, "results/metrics.json")
    model = os.path.join(project, output)
    if os.path.realpath(model) != os.path.realpath("cifar10.h5"):
        copy(model, "cifar10.h5")
    with open(os.path.join(project, "results", "metrics.json"),
              encoding="utf-8") as file:
        accuracy = __import__("json").load(file)["test"]["accuracy"]
    print(f"cifar10.h5: test accuracy {accuracy:.4f}")
    if accuracy < LEAST_ACCURACY:
        sys.exit(f"0-transfer.py: below {LEAST_ACCURACY}")


if __name__ == "__main__":
    main()
