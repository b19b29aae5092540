"""The machine and the Python installation we run on."""
