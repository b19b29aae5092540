"""Loads every file of tests/fixtures as a pytest plugin.

By path, since tests are no package and `fixtures` is somebody else's name on the package index.
"""

import importlib.util
import os
import sys
from pathlib import Path

from hypothesis import settings


def pytest_configure(config):
    os.environ.pop("COLUMNS", None)  # output is as wide as without a terminal, whoever runs tests
    settings.register_profile("untimed", deadline=None)  # on a busy machine anything takes long
    settings.load_profile("untimed")
    for path in sorted((Path(__file__).parent / "fixtures").glob("*.py")):
        name = f"pynomaly_test_fixtures_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        config.pluginmanager.register(module, name)
