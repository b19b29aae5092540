"""Child processes that are kept running, and none of which outlives us."""
