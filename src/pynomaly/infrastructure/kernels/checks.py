"""What kernels take for granted about arrays, looked at once per member.

Kernels index without bounds checks and walk trees until they meet a leaf, so an index that a
damaged or forged model folder sends elsewhere would crash the process, never end, or score rows by
whatever lies in memory.  Layouts say which arrays a detector has, of which type and shape; a
function per group of kernels looks at the numbers that are used as indices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from pynomaly.domain.errors import IntegrityError
from pynomaly.domain.models import Member
from pynomaly.domain.uncertified import PREFIX

__all__ = ["LAYOUTS", "METHODS", "require_sound"]

METHODS = ("mean", "largest", "median")
"""What nearest neighbours may make of their distances; kernels know them by number."""

_SCALED = {"columns": "i8 kept", "center": "f8 kept", "scale": "f8 kept"}
_STEPS = {"columns": "i8 kept", "starts": "i8 kept+1", "values": "f8 values", "heights": "f8 gaps"}
_GROUPED = {**_SCALED, "references": "f8 kept references", "starts": "i8 groups+1"}
_SAMPLED = {**_SCALED, "references": "f8 kept references", "groups": "i8 1"}
_NEAREST = {**_SCALED, "references": "f8 kept references", "neighbours": "i8 1"}
_GAUSSIAN = {**_SCALED, "mean": "f8 axes", "factor": "f8 axes axes"}
_GROWN = {"feature": "i4 nodes", "child": "i4 nodes", "roots": "i8 trees"}
_PROJECTED = {"projection_mean": "f8 kept", "projection": "f8 kept axes"}

LAYOUTS: Mapping[str, Mapping[str, str]] = {
    "iforest": {
        "center": "f8 width", "feature": "u4 trees inner", "threshold": "f4 trees inner",
        "length": "f8 trees inner+1", "denominator": "f8 1",
    },
    "ecod": _STEPS,
    "copod": _STEPS,
    "hbos": _STEPS,
    "loda": {
        **_SCALED, "cut_columns": "i8 cuts used", "cuts": "f8 cuts used",
        "limits": "f8 cuts limits", "heights": "f8 cuts limits+1",
    },
    "pca": {
        **_SCALED, "mean": "f8 kept", "deviation": "f8 kept",
        "components": "f8 kept components", "weights": "f8 components",
    },
    "gmm": {
        **_SCALED, "means": "f8 parts axes", "factors": "f8 parts axes axes",
        "constants": "f8 parts",
    },
    "mcd": _GAUSSIAN,
    "mahalanobis": _GAUSSIAN,
    "deviation": {
        **_SCALED, "shares": "f8 kept", "low": "f8 kept", "falls": "f8 kept", "high": "f8 kept",
        "rises": "f8 kept",
    },
    "cblof": _GROUPED,
    "cluster": _GROUPED,
    "subsample": _SAMPLED,
    "inne": {**_SAMPLED, "radius": "f8 references", "ratio": "f8 references"},
    "knn": _NEAREST,
    "lof": {**_NEAREST, "reach": "f8 references", "density": "f8 references"},
    "ocsvm": {
        **_SCALED, "references": "f8 kept references", "weights": "f8 references",
        "gamma": "f8 1", "intercept": "f8 1",
    },
    "surrogate": {
        **_SCALED, **_GROWN, "threshold": "f4 nodes", "value": "f8 nodes", "depths": "i8 trees",
    },
    "grown_forest": {
        **_GROWN, "center": "f8 width", "threshold": "f4 nodes", "share": "f8 nodes",
        "doubt": "f8 1",
    },
    "boosted_trees": {**_GROWN, "threshold": "f8 nodes", "value": "f8 nodes", "start": "f8 1"},
    "logistic": {
        "middle": "f8 features", "spread": "f8 features", "weights": "f8 features",
        "slope": "f8 scores", "intercept": "f8 1",
    },
}  # fmt: skip
"""Type and shape of every array.  Lengths of one name agree, ``width`` is that of the rows."""

_REFITTED = {**_SCALED, "training": "f8 rows kept", "seed": "i8 1"}
_MAY_BE_EMPTY = "limits"  # a histogram of one bin

_SOUND: WeakValueDictionary[tuple[int, int], Member] = WeakValueDictionary()


def require_sound(member: Member, width: int) -> None:
    """Raise unless a member's arrays are what its kernel expects of them.

    Looked at once: while the member lives, further calls cost a look into a table.

    Args:
        member: Of any detector; those without a kernel have no layout and are left alone.
        width: Columns of the rows to be scored.

    Raises:
        IntegrityError: An array is missing, unknown, of another type or shape, or holds an index
            that leads elsewhere; the message names detector and array.
    """
    key = id(member), width
    if _SOUND.get(key) is member:
        return
    layout = _layout(member)
    if layout is not None:
        arrays = _Arrays(member, _sizes(member, layout, width))
        if "columns" in layout:
            arrays.within("columns", 0, width)
        if further := _FURTHER.get(member.detector):
            further(arrays)
    _SOUND[key] = member


def _layout(member: Member) -> Mapping[str, str] | None:
    if member.detector.startswith(PREFIX):
        return _REFITTED
    layout = LAYOUTS.get(member.detector)
    if layout is not None and member.detector in ("gmm", "mcd") and "projection" in member.arrays:
        return {**layout, **_PROJECTED}
    return layout


def _sizes(member: Member, layout: Mapping[str, str], width: int) -> Mapping[str, int]:
    """Return the lengths that the layout names, once types and shapes fit."""
    if missing := sorted(layout.keys() - member.arrays.keys()):
        raise IntegrityError(
            f"the frozen {member.detector!r} has no {missing[0]!r}",
            hint="the model was made by another version of pynomaly; retrain it",
        )
    if unknown := sorted(member.arrays.keys() - layout.keys()):
        _refuse(member, unknown[0], "is unknown", f"expected {', '.join(layout)} only")
    sizes = {"width": width}
    for name, form in layout.items():
        array = member.arrays[name]
        dtype, *axes = form.split()
        if array.dtype != np.dtype(dtype) or array.ndim != len(axes):
            _refuse(
                member, name, f"is {array.ndim}-dimensional {array.dtype}",
                f"expected {len(axes)}-dimensional {np.dtype(dtype)}",
            )  # fmt: skip
        if not array.flags.c_contiguous:
            _refuse(member, name, "is not laid out row by row", "expected C order")
        for axis, length in zip(axes, array.shape, strict=True):
            known, _, more = axis.partition("+")
            size = length - int(more or 0)
            expected = 1 if known == "1" else sizes.setdefault(known, size)
            if size != expected or size < (0 if known == _MAY_BE_EMPTY else 1):
                _refuse(
                    member, name, f"has shape {array.shape}",
                    f"expected ({', '.join(axes)}), {known} being {max(expected, 1)}",
                )  # fmt: skip
    return sizes


def _refuse(member: Member, name: str, found: str, expected: str) -> NoReturn:
    raise IntegrityError(
        f"the frozen {member.detector!r} cannot be scored: array {name!r} {found}, {expected}",
        hint="the model is damaged, was made by something else than pynomaly, or is scored on "
        "other columns than it was fitted on; retrain it",
    )


@dataclass(frozen=True, slots=True)
class _Arrays:
    member: Member
    sizes: Mapping[str, int]

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.member.arrays[name]

    def within(self, name: str, low: int, high: int) -> None:
        """Refuse numbers below ``low`` or not below ``high``."""
        array = self[name]
        if array.size and not low <= int(array.min()) <= int(array.max()) < high:
            found = f"holds {int(array.min())} to {int(array.max())}"
            _refuse(self.member, name, found, f"expected {low} to {high - 1}")

    def require(self, name: str, fits: bool, expected: str) -> None:
        if not fits:
            _refuse(self.member, name, "does not fit the others", f"expected {expected}")

    def divides(self, name: str, whole: int) -> None:
        """Refuse beginnings that do not cut ``0 … whole`` into parts, none of them empty."""
        starts = self[name]
        self.require(
            name,
            starts[0] == 0 and starts[-1] == whole and bool((starts[1:] > starts[:-1]).all()),
            f"numbers ascending from 0 to {whole}",
        )


def _forest(a: _Arrays) -> None:
    """Trees are complete: 2^depth − 1 questions, depth at least 3, any answer leads to a leaf."""
    inner = a.sizes["inner"]
    a.require("feature", inner >= 7 and inner & (inner + 1) == 0, "2^depth − 1 questions a tree")
    a.within("feature", 0, a.sizes["width"])


def _steps(a: _Arrays) -> None:
    """Column j has u > 0 thresholds at ``starts[j]:starts[j + 1]`` and 2u + 1 heights."""
    values, columns = a.sizes["values"], a.sizes["kept"]
    a.divides("starts", values)
    a.require("heights", a.sizes["gaps"] == 2 * values + columns, "2u + 1 for u thresholds")


def _projections(a: _Arrays) -> None:
    a.within("cut_columns", 0, a.sizes["kept"])


def _densities(a: _Arrays) -> None:
    """Without a projection the axes are the scaled columns."""
    if "projection" not in a.member.arrays:
        name = "means" if "means" in a.member.arrays else "mean"
        a.require(name, a.sizes["axes"] == a.sizes["kept"], f"{a.sizes['kept']} axes")


def _groups(a: _Arrays) -> None:
    a.divides("starts", a.sizes["references"])


def _samples(a: _Arrays) -> None:
    """Groups are of one size."""
    groups, references = int(a["groups"][0]), a.sizes["references"]
    fits = groups >= 1 and references % groups == 0
    a.require("groups", fits, f"a number that divides {references} references")


def _neighbours(a: _Arrays) -> None:
    a.within("neighbours", 1, a.sizes["references"] + 1)


def _distances(a: _Arrays) -> None:
    _neighbours(a)
    if (method := a.member.params.get("method")) not in METHODS:
        raise IntegrityError(
            f"the frozen 'knn' has no method {method!r}",
            hint=f"known are {', '.join(METHODS)}; retrain the model",
        )


def _walks(a: _Arrays, leaf: NDArray[np.bool_], columns: int) -> None:
    """Every node is a root or one node's left or right child, so that every walk ends."""
    nodes = a.sizes["nodes"]
    a.within("feature", 0, columns)
    a.within("roots", 0, nodes)
    a.within("child", 0, nodes)
    left = a["child"][~leaf].astype(np.int64)
    times = np.bincount(np.concatenate([a["roots"], left, left + 1]), minlength=nodes)
    # A right child behind the last node would make the count one longer.
    once = len(times) == nodes and bool((times == 1).all())
    a.require("child", once, "every node once, as a root or a child")


def _learned(a: _Arrays) -> None:
    """A leaf is its own child; an infinite threshold keeps rows there."""
    leaf = a["child"] == np.arange(a.sizes["nodes"])
    _walks(a, leaf, a.sizes["kept"])
    a.require("threshold", bool((a["threshold"][leaf] == np.inf).all()), "infinity at every leaf")
    a.within("depths", 0, a.sizes["nodes"])


def _labelled(a: _Arrays) -> None:
    """A leaf has child 0."""
    _walks(a, a["child"] == 0, a.sizes["width"])


def _regression(a: _Arrays) -> None:
    """Features come first, scores follow, and that is all of a row."""
    width, features = a.sizes["width"], a.sizes["features"]
    a.require("slope", features + a.sizes["scores"] == width, f"{width - features} slopes")


_FURTHER: Mapping[str, Callable[[_Arrays], None]] = {
    "iforest": _forest,
    "ecod": _steps,
    "copod": _steps,
    "hbos": _steps,
    "loda": _projections,
    "gmm": _densities,
    "mcd": _densities,
    "mahalanobis": _densities,
    "cblof": _groups,
    "cluster": _groups,
    "subsample": _samples,
    "inne": _samples,
    "knn": _distances,
    "lof": _neighbours,
    "surrogate": _learned,
    "grown_forest": _labelled,
    "boosted_trees": _labelled,
    "logistic": _regression,
}
