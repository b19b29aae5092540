"""Adapters, one folder per technology; only ``pynomaly.bootstrap`` imports them."""
