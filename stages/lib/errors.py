#!/usr/bin/env python3
"""The mistakes that a stage explains in one line."""


class PipelineError(Exception):
    """Base of all: the message names the key or file, and the mend."""


class ParameterError(PipelineError):
    """params.yaml or a descriptor holds what it must not."""


class SourceError(PipelineError):
    """The data source cannot be read, or is not what a source must be."""


class PictureError(PipelineError):
    """A file is no picture that can be used; the message is the reason."""


class BackboneError(PipelineError):
    """The application cannot be built with these options or this side."""


class CutError(BackboneError):
    """The backbone cannot be divided there."""


class WeightsError(PipelineError):
    """The backbone's weights cannot be had, or fit another backbone."""


class EngineError(PipelineError):
    """The engine of extract cannot compute this backbone."""


class PlanError(PipelineError):
    """What is to be computed would not fit on disk or in memory."""


class ArtefactError(PipelineError):
    """A file that an earlier stage wrote is missing, damaged or stale."""


class StorageError(PipelineError):
    """A file could not be written whole; what was there before remains."""


class ParityError(PipelineError):
    """The fused model does not say what the cached features say."""


class TrainingError(PipelineError):
    """The training diverged."""


class AccuracyError(PipelineError):
    """The test accuracy is below the floor that was demanded."""


class FindingError(PipelineError):
    """The features hold what the caller of the doctor does not want."""
