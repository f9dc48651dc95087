#!/usr/bin/env python3
"""The parts of a fused model that are compared: its views, features, outputs.
"""
import numpy as np

from stages.lib.backbone import cuts
from stages.lib.common import errors
from stages.lib.common.keras_runtime import keras
from stages.lib.fusing import view_layers
from stages.lib.images import views
from stages.lib.params import names


class Parts:
    """A fused model that also returns its features.

    Photographs differ in size: they are rescaled one by one, and then share
    batches.

    Attributes:
        frozen: keras.Model, raw pixels -> what `extract` caches.
        positions: the most that a pooling layer takes the mean of, or 1.
        views: whose outputs the model averages; their features are below
            each other.
        rest: keras.Model, result of `inputs` -> features, output.
    """

    def __init__(self, model, cut):
        """Take the parts.

        Args:
            model: fused, as it was reloaded.
            cut: as `cuts.resolve` returns it.
        """
        first, cached = model.input, feature_tensor(model, cut)
        self.frozen = keras.Model(first, cached)
        self.positions = max([1, *(
            int(np.prod(layer.input_shape[1:3]))
            for layer in self.frozen.layers
            if isinstance(layer, keras.layers.GlobalAveragePooling2D))])
        self._rescale = None
        if None in model.input_shape[1:]:
            first = model.layers[1].output
            self._rescale = keras.Model(model.input, first)
        self.rest = keras.Model(first, [cached, model.output])
        self.views, self._shown = [names.IDENTITY], None
        for layer in model.layers:
            if layer.name == view_layers.SHOW:
                self.views = layer.arguments["views"]
                self._shown = keras.Model(first, layer.output)

    def inputs(self, images):
        """Return the input of `rest`, float32 (k, h, w, 3), 0..255.

        Args:
            images: k arrays, uint8 (h, w, 3); an iterable, so that not all
                photographs need be in memory.
        """
        if self._rescale is None:
            return np.stack(list(images)).astype("float32")
        return np.concatenate([self._rescale.predict_on_batch(
            image[None].astype("float32")) for image in images])

    def check_views(self, inputs):
        """Raise a ParityError if a view has other pixels than in `extract`.

        Args:
            inputs: as `inputs` returns them.
        """
        if self._shown is None:
            return
        shown = np.split(self._shown.predict_on_batch(inputs),
                         len(self.views))
        for view, pixels in zip(self.views, shown):    # the first: identity
            if not np.array_equal(
                    views.apply(view, shown[0].astype("uint8")), pixels):
                raise errors.ParityError(
                    f"the view {view} of the fused model has other pixels "
                    "than that of the features")

    def mean(self, outputs):
        """Return the mean over views of `outputs`, (views * k, classes)."""
        return np.mean(np.split(outputs, len(self.views)), axis=0)


def feature_tensor(model, cut):
    """Return the tensor of the fused `model` that `extract` caches."""
    if cut == cuts.TOP:
        return model.get_layer("head_normalization").input
    return model.get_layer(cut).output
