#!/usr/bin/env python3
"""Read a study: its questions, and the points that answer them."""
import hashlib
import json
from typing import Any, Dict, List, NamedTuple, Optional

from stages.lib.common import errors, yaml_models
from stages.lib.params import params

DIGITS = 8    # of the digest that identifies a point's settings


class Source(params.Group):
    """Arrays that the study derives from others.

    Attributes:
        of: path of an `.npz`, or name of another source of the study.
        per_class: train images of each class, drawn at random; null: all.
        wrong_labels: share of the train labels that become another class.
        without_suspects: remove what the doctor suspects, see `sources`.
        seed: of the draw.
        redraw: whether each seed of a point draws other images.
    """

    of: str
    per_class: Optional[params.Count] = None
    wrong_labels: params.Share = 0.0
    without_suspects: bool = False
    seed: params.Seed = 0
    redraw: bool = False


class Question(params.Group):
    """A question: what it asks, settings of all its points, the points."""

    asks: str
    settings: Dict[str, Any] = {}
    seeds: List[params.Seed] = [0]
    points: Dict[str, Dict[str, Any]]


class Study(params.Group):
    """A study: settings of all points, derived sources, questions.

    Attributes:
        examples: "question.point" whose mistakes the paper shows, or null.
    """

    examples: Optional[str] = None
    settings: Dict[str, Any] = {}
    sources: Dict[str, Source] = {}
    questions: Dict[str, Question]


class Point(NamedTuple):
    """One run: `settings` are those of params.yaml that differ, by name."""

    question: str
    name: str
    seed: int
    settings: Dict[str, Any]

    @property
    def digest(self):
        """Return what identifies the settings, hexadecimal digits."""
        text = json.dumps(self.settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]

    @property
    def experiment(self):
        """Return the name of the DVC experiment."""
        return f"{self.question}-{self.name}-{self.seed}-{self.digest}"


def read(path):
    """Return the `Study` in the YAML file at `path`.

    Raises:
        ParameterError: names the key that is wrong.
    """
    study = yaml_models.parse(Study, yaml_models.read(path), path)
    for name, question in study.questions.items():
        for word in [name, *question.points]:
            if not word.replace("_", "").isalnum():
                raise errors.ParameterError(
                    f"{path}: questions.{name}: {word!r} becomes the name of "
                    "an experiment; use letters, digits and _")
    for point in points(study):
        if "data.source" not in point.settings:
            raise errors.ParameterError(
                f"{path}: questions.{point.question}.points.{point.name}: "
                "no data.source; name it here, or in settings")
    for name, source in study.sources.items():
        before = {name}
        while source.of in study.sources:
            if source.of in before:
                raise errors.ParameterError(
                    f"{path}: sources.{name}: leads back to {source.of}; "
                    "name an .npz file in `of`")
            before.add(source.of)
            source = study.sources[source.of]
    return study


def points(study):
    """Return the points of a `Study` in the order in which they run.

    The settings of a point win over those of its question, and these over
    those of the study.  `~key: null` removes the key from params.yaml.
    """
    return [
        Point(asked, name, seed, {**study.settings, **question.settings,
                                  **own, "train.seed": seed})
        for asked, question in study.questions.items()
        for name, own in question.points.items()
        for seed in question.seeds]
