#!/usr/bin/env python3
"""Errors that a stage or command reports in one line, without a traceback."""


class PipelineError(Exception):
    """Base class: the message names the key or file, and how to fix it."""


class ParameterError(PipelineError):
    """A key of params.yaml, of a descriptor or of a command line is invalid.
    """


class SourceError(PipelineError):
    """The data source cannot be read, or its content is invalid."""


class PictureError(PipelineError):
    """A file is not a usable image; the message is the reason."""


class BackboneError(PipelineError):
    """The application cannot be built with these options or this side."""


class CutError(BackboneError):
    """The backbone cannot be divided at this layer."""


class LayersError(BackboneError):
    """A layer of extract.layers is unknown, or cannot be cached."""


class WeightsError(PipelineError):
    """The weights of the backbone are missing, or fit another backbone."""


class EngineError(PipelineError):
    """The engine of extract cannot compute this backbone."""


class ClusterError(PipelineError):
    """The cluster cannot be used, or its nodes compute other bytes."""


class PlanError(PipelineError):
    """The planned work does not fit on disk or into memory."""


class ArtefactError(PipelineError):
    """A file that an earlier stage wrote is missing, damaged or stale."""


class OtherFeaturesError(ArtefactError):
    """The head was trained on other features than those in the cache."""


class StorageError(PipelineError):
    """A file could not be written; the previous version remains."""


class ParityError(PipelineError):
    """The fused model and head(cached features) give different outputs."""


class TrainingError(PipelineError):
    """The training diverged."""


class AccuracyError(PipelineError):
    """The test accuracy is below the required floor."""


class FindingError(PipelineError):
    """The features contain a kind of finding that --fail-on names."""
