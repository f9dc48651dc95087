#!/usr/bin/env python3
"""Files for TensorBoard's embedding projector: features, labels, pictures."""
import os

import numpy as np

from stages.lib.common import errors, files, text
from stages.lib.inspection import report, sprite

SIDE = 8192    # pixels: the largest sprite that the projector accepts
CONFIG = """embeddings {{
  tensor_name: "features"
  tensor_path: "features.bytes"
  tensor_shape: {rows}
  tensor_shape: {columns}
  metadata_path: "metadata.tsv"
  sprite {{
    image_path: "sprite.png"
    single_image_dim: {side}
    single_image_dim: {side}
  }}
}}
"""


def write(folder, cached, examined, chosen):
    """Write features, metadata, sprite and configuration of `chosen`.

    The projector's formats: github.com/tensorflow/tensorboard, in
    tensorboard/plugins/projector/projector_config.proto.

    Args:
        folder: created if it does not exist.
        cached: `cached_features.CachedFeatures`.
        examined: `doctor.Examined`.
        chosen: row numbers, ascending.

    Raises:
        ParameterError: too many images for one sprite.
    """
    if len(chosen) > (SIDE // 16)**2:
        raise errors.ParameterError(
            f"--points {len(chosen)}: the projector shows "
            f"at most {(SIDE // 16)**2} pictures")
    side = min(32, SIDE // int(np.ceil(np.sqrt(len(chosen)))))
    vectors = cached.vectors[chosen].astype("<f4")
    with files.replacing(os.path.join(folder, "features.bytes")) as file:
        file.write(vectors.tobytes())
    table = ["\t".join(["class", "neighbours", "split", "image"])]
    names = list(map(text.escaped, cached.names))
    table += ["\t".join([
        names[cached.labels[k]], names[examined.shares[k].argmax()],
        files.SPLITS[cached.split[k]], report.place(cached.where(k))])
        for k in chosen]
    files.write_text(os.path.join(folder, "metadata.tsv"),
                     "\n".join(table) + "\n")
    picture, _ = sprite.sprite(cached, chosen, side)
    with files.replacing(os.path.join(folder, "sprite.png")) as file:
        file.write(sprite.encoded(picture, "PNG"))
    files.write_text(os.path.join(folder, "projector_config.pbtxt"),
                     CONFIG.format(rows=vectors.shape[0],
                                   columns=vectors.shape[1], side=side))
