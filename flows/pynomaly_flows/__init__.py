"""Prefect flows: the lifecycle, readable from top to bottom."""
