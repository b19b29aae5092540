"""Validation with Great Expectations; its import takes seconds and happens on first use only."""
