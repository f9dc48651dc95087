#!/usr/bin/env python3
"""The features of new images, computed as `extract` computes cached ones."""
import contextlib
import sys

from stages.lib.backbone import layers
from stages.lib.cache import lookup
from stages.lib.common import keras_runtime, manifest
from stages.lib.engines import engine
from stages.lib.images import rescaling
from stages.lib.inspection import cached_features


class FrozenPart:
    """The frozen part of the backbone, behind the same resizing."""

    def __init__(self, given):
        """Build it.

        Args:
            given: `params.Params`.

        Raises:
            ArtefactError: the cached features are of other parameters.
            PipelineError: as `layers.build`.
        """
        keras_runtime.reset(seed=0)
        frozen = layers.build(given)
        key = {**frozen.key, **engine.key(given.extract)}
        manifest.read(key)
        self._given = given
        with contextlib.redirect_stdout(sys.stderr):    # it may convert
            self._engine = engine.load(given.extract.engine, frozen.extractor,
                                       lookup.scratch(key))

    def vector(self, pixels):
        """Return the features of an image, float32 (d,), maps pooled.

        Args:
            pixels: uint8 (h, w, 3), of the size of a prepared image.
        """
        resize = self._given.resize.model_dump()
        scaled = rescaling.rescale(pixels[None], **resize).numpy()
        x = self._engine.compute(scaled.astype("uint8"))
        return cached_features.pooled(
            x.astype(self._given.extract.dtype))[0]
