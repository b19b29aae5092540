"""Rules and statistics: standard library and numpy only, no I/O."""
