#!/usr/bin/env python3
"""Engines side by side: the frozen backbone on the same real images."""
import os
import statistics
import time

import matrix_rates
import numpy as np

ROUNDS = 5
BATCHES = (1, 4, 16, 64)    # tried for each other engine; the best is timed
CORES = os.cpu_count()


def timed(function):
    """Return the seconds that `function` takes, and its result."""
    begin = time.perf_counter()
    result = function()
    return time.perf_counter() - begin, result


def multiply_adds(model):
    """Return the multiply-adds of a model's convolutions for one image."""
    from stages.lib.common.keras_runtime import keras
    total = 0
    for layer in model.layers:
        if isinstance(layer, (keras.layers.Conv2D,
                              keras.layers.DepthwiseConv2D)):
            area = np.prod(layer.output_shape[1:3])
            total += area * np.prod(layer.get_weights()[0].shape)
    return int(total)


def ours(name):
    """Return a function of model and images that runs our engine `name`."""
    def make(model, images):
        """Return the engine as a function without arguments."""
        from concurrent.futures import ThreadPoolExecutor

        from stages.lib.engines import engine
        loaded = engine.load(name, model, None)

        def go():
            """Return the features of all images."""
            with ThreadPoolExecutor(loaded.workers) as pool:
                return np.concatenate(list(pool.map(
                    lambda k: loaded.compute(images[k:k + loaded.chunk]),
                    range(0, len(images), loaded.chunk))))
        return go
    return make


def predict(model, images):
    """Return `Model.predict` at its own batch of 32."""
    pixels = images.astype("float32")
    return lambda: model.predict(pixels, verbose=0)


def function(model, images):
    """Return a tf.function at batches of 64."""
    from stages.lib.common.keras_runtime import tf
    pixels = images.astype("float32")
    forward = tf.function(lambda batch: model(batch, training=False))
    return lambda: np.concatenate([forward(pixels[k:k + 64]).numpy()
                                   for k in range(0, len(pixels), 64)])


def onnx_runtime(model, images):
    """Return ONNX Runtime in float32, all cores, at its best batch."""
    import onnxruntime
    import tf2onnx

    from stages.lib.common.keras_runtime import tf
    proto, _ = tf2onnx.convert.from_keras(model, [tf.TensorSpec(
        (None, *images.shape[1:]), tf.float32, name="pixels")], opset=13)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = CORES
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options,
        providers=["CPUExecutionProvider"])
    pixels = images.astype("float32")

    def at(batch):
        """Return a run at batches of `batch`."""
        return lambda: np.concatenate([
            session.run(None, {"pixels": pixels[k:k + batch]})[0]
            for k in range(0, len(pixels), batch)])
    return best(at)


def openvino(model, images):
    """Return OpenVINO in float32, for throughput, at its best batch."""
    import openvino as ov
    pixels = images.astype("float32")

    def at(batch):
        """Return a run at batches of `batch`."""
        graph = ov.convert_model(model)
        graph.reshape([batch, *images.shape[1:]])
        compiled = ov.Core().compile_model(graph, "CPU", {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "THROUGHPUT"})
        queue = ov.AsyncInferQueue(compiled)
        rows = [None] * (len(pixels) // batch)

        def keep(request, number):
            """Store the output of a request."""
            rows[number] = request.get_output_tensor().data.copy()

        queue.set_callback(keep)

        def go():
            """Return the features of all images."""
            for k in range(len(rows)):
                queue.start_async({0: pixels[k * batch:(k + 1) * batch]}, k)
            queue.wait_all()
            return np.concatenate(rows)
        return go
    return best(at)


def best(at):
    """Return the fastest of `at(batch)` over `BATCHES`, run once each."""
    runs = [at(batch) for batch in BATCHES]
    return min(runs, key=lambda run: (run(), timed(run)[0])[1])


OWN = {f"this project ({name})": ours(name)
       for name in ("tflite", "openvino")}
ENGINES = {**OWN, "Model.predict": predict, "tf.function": function,
           "ONNX Runtime": onnx_runtime, "OpenVINO": openvino}


def measure(model, images):
    """Return tables: the matrix rates, the engines, what is demanded of ours.

    Args:
        model: `backbone.extractor`.
        images: uint8 (n, side, side, 3).
    """
    matrix = matrix_rates.measure()
    runs = {name: make(model, images) for name, make in ENGINES.items()}
    results = {name: run() for name, run in runs.items()}
    seconds = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            seconds[name].append(timed(run)[0])
    matrix = {name: max(rate, matrix[name])
              for name, rate in matrix_rates.measure().items()}
    limit = max(matrix, key=matrix.get)
    flop = 2 * multiply_adds(model)
    truth = results["Model.predict"]
    rates = {name: len(images) / statistics.median(taken)
             for name, taken in seconds.items()}
    own = max(rates[name] for name in OWN)
    largest = np.abs(truth).max()
    return {
        f"matrix rates in GFLOP/s, best: {limit}": matrix,
        **{name: {
            "images_per_second": rate,
            "this_project_is_faster_by": own / rate,
            "share_of_matrix_rate": rate * flop / matrix[limit] / 1e9,
            "relative_difference": float(
                np.abs(results[name] - truth).max() / largest),
        } for name, rate in rates.items()},
        "this project's fastest engine": {
            "share_of_best_other_at_least_0.95": own / max(
                rate for name, rate in rates.items() if name not in OWN),
            "share_of_matrix_rate_at_least_0.8": (
                own * flop / matrix[limit] / 1e9)}}
