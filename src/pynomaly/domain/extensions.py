"""Detectors that other packages bring along, by entry points of the group ``pynomaly.detectors``.

Whoever installs a package trusts its code; a model folder still cannot name anything that is not
installed.  Entry points are listed once per process and loaded only when a detector is asked for
by name, so a broken package harms nobody who does not use it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from pynomaly.domain.errors import ConfigurationError, PynomalyError

if TYPE_CHECKING:
    # Reading settings asks for names and must not wait for numpy.
    import numpy as np
    from numpy.typing import NDArray

    from pynomaly.domain.detectors import Detector

    Floats = NDArray[np.float64]

__all__ = [
    "GROUP",
    "DetectorExtension",
    "Extension",
    "Frozen",
    "extension",
    "extension_names",
    "extension_versions",
    "provided",
]

GROUP = "pynomaly.detectors"
"""The entry-point group."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Frozen:
    """A fitted detector as arrays, and what it should score.

    Args:
        arrays: All that scoring needs: booleans, integers and floats.
        expected: Scores by the fitted detector of the training rows with these indices.
        absolute_tolerance: Allowed on top of the relative one, where the library itself is less
            precise than we are.
        undecidable: Whether ``expected`` may be NaN, for rows that the library itself places by
            rounding or by the order of its search.  They are not compared.
    """

    arrays: Mapping[str, NDArray[Any]]
    expected: Callable[[NDArray[np.int64]], Floats]
    absolute_tolerance: float = 1e-12
    undecidable: bool = False


@dataclass(frozen=True, slots=True)
class DetectorExtension:
    """What an entry point resolves to; ``pynomaly.testing.check_detector`` checks all of it.

    Args:
        entry: For the catalogue; its name is the entry point's.  ``certified`` says that it passes
            ``check_detector``.
        fit: ``fit(params, X, seed, floors)`` with every parameter of ``entry.defaults``, X (n, d)
            finite float64 of which some column varies, and floors (d,), the smallest spread to
            scale each column by.  Runs alone, with libraries limited to one thread.
        score: ``score(arrays, params, X)`` returns (n,) finite float64, higher = stranger.  It
            must be pure: a row's score may depend on that row and the arrays alone.
    """

    entry: Detector
    fit: Callable[[Mapping[str, Any], Floats, int, Floats], Frozen]
    score: Callable[[Mapping[str, NDArray[Any]], Mapping[str, Any], Floats], Floats]


@dataclass(frozen=True, slots=True)
class Extension:
    """An installed extension.

    Args:
        detector: What its entry point resolved to.
        package: Distribution that declares it.
        version: Of the distribution.
    """

    detector: DetectorExtension
    package: str
    version: str

    def fit(self, params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
        """Fit it.

        Raises:
            PynomalyError: It fails; the message names the package.
        """
        with self._blamed("fit"):
            return self.detector.fit(params, X, seed, floors)

    def score(
        self, arrays: Mapping[str, NDArray[Any]], params: Mapping[str, Any], X: Floats
    ) -> Floats:
        """Score rows and hold the scores to what a kernel gives: (n,) finite float64.

        Raises:
            PynomalyError: It fails, or gives something else; the message names the package.
        """
        import numpy as np

        with self._blamed("score"):
            scores = np.asarray(self.detector.score(arrays, params, X), dtype=np.float64)
            if scores.shape != (len(X),):
                raise ValueError(f"scores of shape {scores.shape} for {len(X)} rows")
            if not np.isfinite(scores).all():
                raise ValueError(f"no finite score for {(~np.isfinite(scores)).sum()} rows")
        return scores

    @contextmanager
    def _blamed(self, action: str) -> Iterator[None]:
        try:
            yield
        except PynomalyError:
            raise
        except Exception as error:
            raise PynomalyError(
                f"detector {self.detector.entry.name!r} of package {self.package} {self.version} "
                f"failed to {action}: {type(error).__name__}: {error}",
                hint="check it with pynomaly.testing.check_detector, or report it to its authors",
            ) from error


_PROVIDED: dict[str, Extension] = {}


@contextmanager
def provided(detector: DetectorExtension) -> Iterator[None]:
    """Make a detector known inside a block, without a package that declares it.

    For tests and experiments; models fitted in the block can only be scored in such a block.
    """
    name = detector.entry.name
    before = _PROVIDED.get(name)
    _PROVIDED[name] = Extension(detector, "this process", "unpackaged")
    try:
        yield
    finally:
        del _PROVIDED[name]
        if before is not None:
            _PROVIDED[name] = before


def extension_names() -> tuple[str, ...]:
    """Return names of installed extensions, sorted; nothing is imported for it."""
    return tuple(sorted({*_declared(), *_PROVIDED}))


def extension_versions() -> Mapping[str, str]:
    """Return the version of every package that declares a detector."""
    return dict(_origin(point) for points in _declared().values() for point in points)


def extension(name: str) -> Extension | None:
    """Return the extension of that name, or None if no package declares it.

    Raises:
        ConfigurationError: The package that declares it is broken, or several declare it.
    """
    if name in _PROVIDED:
        return _PROVIDED[name]
    return _installed(name) if name in _declared() else None


@cache
def _installed(name: str) -> Extension:
    found = _declared()[name]
    package, version = _origin(found[0])
    declared = f"detector {name!r} of package {package} {version}"
    if len(found) > 1:
        packages = " and ".join(" ".join(_origin(point)) for point in found)
        raise ConfigurationError(
            f"detector {name!r} is declared by several packages: {packages}",
            hint="uninstall all but one of them",
        )
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{declared} has no usable name",
            hint="lower-case letters, digits and underscores, a letter first",
        )
    try:
        loaded = found[0].load()
    except Exception as error:
        raise ConfigurationError(
            f"{declared} cannot be loaded: {type(error).__name__}: {error}",
            hint=f"its entry point is {found[0].value!r}; mend or uninstall {package}",
        ) from error
    if not isinstance(loaded, DetectorExtension):
        raise ConfigurationError(
            f"{declared} resolves to a {type(loaded).__name__}",
            hint="its entry point must name a pynomaly.domain.extensions.DetectorExtension",
        )
    if loaded.entry.name != name:
        raise ConfigurationError(
            f"{declared} calls itself {loaded.entry.name!r}",
            hint="give the entry point and the catalogue entry the same name",
        )
    return Extension(loaded, package, version)


@cache
def _declared() -> Mapping[str, tuple[EntryPoint, ...]]:
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=GROUP):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


def _origin(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("unknown", "?")
