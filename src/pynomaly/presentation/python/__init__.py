"""Detection from Python, reached as ``pynomaly.detect`` and ``pynomaly.AnomalyDetector``."""
