#!/usr/bin/env python3
"""The groups of compare/params.yaml."""
from stages.lib.params import params


class Convnet(params.Group):
    """The ConvNet from scratch."""

    side: params.Side
    flip: bool
    shift: params.Share
    zoom: params.Share
    learning_rate: params.Rate
    batch_size: params.Count
    epochs: params.Count
    seed: params.Seed
    patience: params.Count


class Compare(params.Group):
    """All of compare/params.yaml."""

    convnet: Convnet
