#!/usr/bin/env python3
"""What the processor can do: the best float32 matrix product installed.

NumPy alone is no limit: its OpenBLAS does not know every processor, and the
engines have kernels of their own.
"""
import time

import numpy as np

ORDER, ROUNDS = 4096, 5


def products(a, b):
    """Return library -> function that multiplies `a` and `b`, float32.

    SciPy brings a later OpenBLAS than NumPy 1.25.2.
    """
    import scipy
    from scipy.linalg import blas

    from stages.lib.common.keras_runtime import tf
    left, right = tf.constant(a), tf.constant(b)
    columns = [np.asfortranarray(one) for one in (a, b)]
    found = {
        f"NumPy {np.__version__}": lambda: a @ b,
        f"SciPy {scipy.__version__}": lambda: blas.sgemm(1.0, *columns),
        f"TensorFlow {tf.__version__}": lambda: tf.matmul(
            left, right).numpy()}
    try:
        import openvino
    except ImportError:
        return found
    operations = openvino.opset13
    given = operations.parameter(a.shape, openvino.Type.f32)
    model = openvino.Model([operations.matmul(
        given, operations.constant(b), False, False)], [given], "product")
    request = openvino.Core().compile_model(model, "CPU", {
        "INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    request.get_input_tensor().data[:] = a
    found[f"OpenVINO {openvino.__version__.split('-')[0]}"] = request.infer
    return found


def measure(order=ORDER):
    """Return library -> its best GFLOP/s on all cores, in turns."""
    random = np.random.default_rng(0)
    runs = products(*random.random((2, order, order), dtype=np.float32))
    best = dict.fromkeys(runs, np.inf)
    for _ in range(ROUNDS):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - begin)
    return {name: 2 * order**3 / taken / 1e9 for name, taken in best.items()}
