"""PyOD's other detectors for tables, which experiments may try by name, e.g. ``pyod:ABOD``.

None is certified: some rank a row together with its batch, some give nothing for single rows, and
none is frozen to arrays that a kernel scores.  A model keeps their (bounded) training rows as an
array and fits them again when it first scores.  The release gate refuses such a model.

Left out: detectors for time series, graphs, texts, images and sound; those that learn from labels
(XGBOD, DevNet) and LSCP, which is made of detector objects.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["PREFIX", "UNCERTIFIED"]

PREFIX = "pyod:"
"""Before the class's name in ``pyod.models``."""

UNCERTIFIED: Mapping[str, tuple[str, str]] = {
    "ABOD": ("Angle-based", "rows that see all others under similar angles"),
    "AE1SVM": ("Autoencoder with one-class SVM", "rows a neural network cannot rebuild"),
    "ALAD": ("Adversarially learned", "rows a generative network cannot rebuild"),
    "AnoGAN": ("Generative adversarial network", "rows a generative network cannot make"),
    "AutoEncoder": ("Autoencoder", "rows a neural network cannot rebuild"),
    "CD": ("Cook's distance", "rows with much influence on a linear regression"),
    "COF": ("Connectivity-based factor", "rows loosely connected to their neighbours"),
    "DIF": ("Deep isolation forest", "rows isolated early in random network projections"),
    "DeepSVDD": ("Deep one-class", "rows a network maps far from the centre"),
    "FeatureBagging": ("Feature bagging", "rows of low local density in random column subsets"),
    "HDBSCAN": ("Hierarchical density clusters", "rows outside dense clusters"),
    "KDE": ("Kernel density", "rows of low density"),
    "KPCA": ("Kernel principal components", "rows that break non-linear relations"),
    "LMDD": ("Deviation-based", "rows whose removal makes the rest more alike"),
    "LOCI": ("Local correlation integral", "rows of unusual local density at any scale"),
    "LUNAR": ("Graph network on neighbours", "rows with unusual distances to neighbours"),
    "MAD": ("Median absolute deviation", "values far from the median; one column only"),
    "MO_GAAL": ("Multiple-objective adversarial", "rows told from generated ones"),
    "QMCD": ("Quasi-Monte Carlo discrepancy", "rows that make the data less uniform"),
    "RGraph": ("Random walks on representations", "rows few walks lead to"),
    "ROD": ("Rotation-based", "rows with unusual angles in three-column subspaces"),
    "SOD": ("Subspace", "rows far from neighbours in some columns"),
    "SOS": ("Stochastic selection", "rows no other row considers a neighbour"),
    "SO_GAAL": ("Single-objective adversarial", "rows told from generated ones"),
    "SUOD": ("Accelerated ensemble", "rows several detectors find strange"),
    "Sampling": ("Distance to a sample", "rows far from a small random sample"),
    "VAE": ("Variational autoencoder", "rows a neural network cannot rebuild"),
}
"""Class name → title and what it finds."""
