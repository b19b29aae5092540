"""Scoring for people who hold only a model folder: no settings, no records, no registry."""

from pynomaly.serving.scorer import Scorer, load_scorer

__all__ = ["Scorer", "load_scorer"]
