"""MLflow as model registry and experiment tracker."""

from pynomaly.infrastructure.mlflow.registry import MlflowRegistry

__all__ = ["MlflowRegistry"]
