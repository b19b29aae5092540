"""Tuning with Optuna."""

from __future__ import annotations

from pynomaly.infrastructure.optuna.tuner import OptunaTuner

__all__ = ["OptunaTuner"]
