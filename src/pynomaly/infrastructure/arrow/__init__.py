"""Tables in files, by pyarrow: sources, staged datasets and outputs."""
