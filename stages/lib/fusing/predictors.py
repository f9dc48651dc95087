#!/usr/bin/env python3
"""Models for `commands/predict_images.py`: of Keras, or of small runtimes.

Without a model of Keras, TensorFlow is not imported: it takes seconds.
"""
import os
import threading

from stages.lib.common import errors, files, parallel, silence
from stages.lib.fusing import runtimes
from stages.lib.images import fitting


def load(path, trust=False):
    """Return the model at `path`: `KerasModel` or `SmallModel`.

    Both have: `names` of the classes; `batch`, how many images to compute at
    once; `workers`, how many threads may call `probabilities`; `fitted`.

    Args:
        path: of an `.h5`, `.tflite` or `.onnx` file.
        trust: load layers that could run code of their own, too.

    Raises:
        ArtefactError: it cannot be read, or is damaged.
        PipelineError: it is not a fused model, not trusted, or of another
            Python.
    """
    kind = os.path.splitext(path)[1][1:]
    return (SmallModel(kind, path) if kind in ("tflite", "onnx")
            else KerasModel(path, trust))


class Model:
    """What both have in common: see `load`."""

    def __init__(self, names, shape, mode):
        """Keep what describes the model.

        Args:
            names: of the classes.
            shape: height and width of its images, None for any.
            mode: resize.mode.
        """
        self.names, self._shape, self._mode = names, shape, mode

    def fitted(self, pixels):
        """Return `pixels`, uint8 (h, w, 3), as the model accepts them.

        A model of image files accepts any size; for one of arrays, they are
        scaled to the size of its images.
        """
        if self._shape is None or pixels.shape[:2] == self._shape:
            return pixels
        return fitting.fit(pixels, self._shape, self._mode)


class KerasModel(Model):
    """A fused or exported `.h5` file, which uses all cores by itself."""

    batch, workers = 32, 1

    def __init__(self, path, trust):
        """Load the model; arguments and errors are those of `load`."""
        import h5py
        from stages.lib.common import keras_runtime, model_seal
        from stages.lib.fusing import safe_loading
        from stages.lib.training import head, numpy_head
        model_seal.check(path)
        keras_runtime.check_python(path)
        if not trust:
            safe_loading.check(path)
        model = keras_runtime.load_model(path)
        with h5py.File(path, "r") as file:
            mode = file.attrs.get("resize_mode", "stretch")
        names = keras_runtime.class_names(path)
        if names is None or len(model.input_shape) != 4:
            raise errors.PipelineError(
                f"{path}: not a fused model: it needs an input of images, "
                "and class_names; `dvc repro` makes one")
        shape = model.input_shape[1:3]
        super().__init__(names, shape if shape[0] else None, mode)
        logits = head.gives_logits(model)
        self.probabilities = lambda pixels: numpy_head.to_probabilities(
            model.predict_on_batch(pixels.astype("float32")), logits)


class SmallModel(Model):
    """An exported `.tflite` or `.onnx` file: an interpreter for each core."""

    batch, workers = 1, parallel.CORES

    def __init__(self, kind, path):
        """Load the model; `kind` is a key of `runtimes.FORMATS`.

        Raises:
            PipelineError: as `load`; or its runtime is not installed.
        """
        try:
            with silence.errors_hidden():
                compute = runtimes.load(kind, path)
        except ImportError as error:
            raise errors.PipelineError(
                f"{path}: needs {error.name}; install it (`pip install "
                f"{error.name}`), or predict with the .h5 file") from error
        except Exception as error:    # runtimes raise anything
            raise files.no_model(path, error) from error
        shape = compute.shape[1:3]
        super().__init__(compute.about["class_names"],
                         tuple(shape) if shape[0] > 0 else None,
                         compute.about["resize_mode"])
        self._file, self._first = (kind, path), [compute]
        self._of_thread, self._lock = threading.local(), threading.Lock()

    def probabilities(self, pixels):
        """Return the probabilities of a batch, float64 (n, classes).

        Args:
            pixels: uint8 (n, h, w, 3), 0..255.
        """
        pixels = pixels.astype("float32")
        if not hasattr(self._of_thread, "compute"):
            with self._lock:    # one thread at a time turns messages off
                self._begin(pixels)
        found = self._of_thread.compute(pixels).astype("float64")
        return found / found.sum(axis=1, keepdims=True)

    def _begin(self, pixels):
        """Give this thread an interpreter, and let it allocate its memory."""
        compute = (self._first.pop() if self._first
                   else runtimes.load(*self._file))
        with silence.errors_hidden():
            compute(pixels)
        self._of_thread.compute = compute
