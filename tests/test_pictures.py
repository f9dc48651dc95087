#!/usr/bin/env python3
"""Decoding of files, and resizing to the side of the backbone."""
import numpy as np
import pytest
from pictures import formats, noise

from stages.lib.common.keras_runtime import keras
from stages.lib.images import decoding, rescaling


@pytest.mark.parametrize("name", formats())
def test_format(name):
    """Each kind of file gives the pixels saved in it, as RGB."""
    data, expected, off = formats()[name]
    found = decoding.decode(data)
    assert found.dtype == np.uint8 and found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= off


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
def test_model_sees_what_resize_stores(mode, antialias):
    """The Lambda for any size gives exactly the pixels of `resize`."""
    arguments = {"side": 32, "mode": mode, "antialias": antialias}
    given = keras.Input((None, None, 3))
    tensor = rescaling.rescale_layer(**arguments)(given)
    model = keras.Model(given, tensor)
    assert model.output_shape == (None, 32, 32, 3)
    for height, width in [(32, 32), (50, 33), (20, 91), (7, 64), (1, 1)]:
        image = noise(height, width)[None]
        stored = rescaling.rescale(image, **arguments).numpy()
        assert stored.shape == (1, 32, 32, 3)
        assert np.array_equal(stored, np.rint(stored))
        assert np.array_equal(stored, model.predict_on_batch(
            image.astype("float32")))
        if height == width:
            assert np.array_equal(stored, rescaling.rescale(
                image, 32, antialias=antialias))


def test_modes():
    """Crop takes the centre, pad adds black, stretch neither."""
    image = np.zeros((1, 8, 4, 3), np.uint8)
    image[0, 2:6], image[0, [0, -1]] = 100, 200
    stretched, cropped, padded = [
        rescaling.rescale(image, 8, mode).numpy()[0, :, :, 0]
        for mode in ("stretch", "crop", "pad")]
    assert np.array_equal(stretched[:, 0], image[0, :, 0, 0])
    assert (cropped == 100).all()
    assert np.array_equal(padded[:, 2:6], image[0, :, :, 0])
    assert not padded[:, :2].any() and not padded[:, 6:].any()
