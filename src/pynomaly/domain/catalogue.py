"""What every detector of ours is: for people, for the tuner, and for the contract.

A *family* is something a pipeline may name; a *member* occurs only inside the self-cleaning
ensemble.  Search spaces are data, so a tuner needs to know nothing about detectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = [
    "DETECTORS",
    "Choice",
    "Detector",
    "FloatRange",
    "IntRange",
    "ParameterValue",
    "Space",
]

ParameterValue = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few values."""

    values: tuple[ParameterValue, ...]


@dataclass(frozen=True, slots=True)
class IntRange:
    """A whole number from ``low`` to ``high``, both included."""

    low: int
    high: int
    log: bool = False


@dataclass(frozen=True, slots=True)
class FloatRange:
    """A number from ``low`` to ``high``, both included."""

    low: float
    high: float
    log: bool = False


Space = Choice | IntRange | FloatRange


@dataclass(frozen=True, slots=True)
class Detector:
    """One entry of the catalogue.

    Args:
        name: As configuration and frozen members spell it.
        title: For people.
        finds: What kind of anomaly it is good at.
        defaults: Every parameter with its default.
        space: Parameters worth tuning; defaults lie inside.
        fit_cost: How expensive fitting is and what it grows with.
        score_cost: How expensive scoring a row is and what it grows with.
        reference: Paper the method comes from.
        tolerance: Largest relative deviation of frozen scores from those of ``equals``.
        equals: What they are compared with.
        family: Whether a pipeline may name it.
        searched: Whether tuning tries it unless the pipeline names other families.
        certified: Whether it freezes to arrays and passes the contract suite.
    """

    name: str
    title: str
    finds: str
    fit_cost: str
    score_cost: str
    reference: str
    tolerance: float
    equals: str
    defaults: Mapping[str, ParameterValue] = field(default_factory=dict)
    space: Mapping[str, Space] = field(default_factory=dict)
    family: bool = True
    searched: bool = True
    certified: bool = True


DETECTORS: tuple[Detector, ...] = (
    Detector(
        name="self_cleaning",
        title="Self-cleaning ensemble",
        finds="anomalies of any kind in training data that already contains some of them",
        defaults={"trim_low": 0.10, "trim_high": 0.40, "rounds": 4, "surrogate": 0.5},
        space={
            "trim_low": FloatRange(0.05, 0.20),
            "trim_high": FloatRange(0.25, 0.50),
            "rounds": IntRange(2, 6),
            "surrogate": FloatRange(0.25, 1.0),
        },
        fit_cost="seconds; that of its members, grows with rows × columns",
        score_cost="high; the sum of its members",
        reference="this project, docs/explanation/detection-quality.md",
        tolerance=1e-6,
        equals="its members, each to its own library",
    ),
    Detector(
        name="iforest",
        title="Isolation forest",
        finds="rows that few random cuts separate from the rest",
        defaults={"n_estimators": 100, "max_samples": 256},
        space={"n_estimators": Choice((100, 200, 300)), "max_samples": Choice((128, 256, 512))},
        fit_cost="low; grows with trees × max_samples, hardly with rows",
        score_cost="low; grows with trees × log(max_samples), not with columns",
        reference="Liu, Ting & Zhou, Isolation forest (ICDM 2008)",
        tolerance=1e-12,
        equals="PyOD's IForest",
    ),
    Detector(
        name="ecod",
        title="Empirical cumulative distribution (ECOD)",
        finds="values in the tails of single columns",
        fit_cost="low; grows with rows × columns (a sort)",
        score_cost="low; grows with columns × log(training rows)",
        reference="Li et al., ECOD: unsupervised outlier detection using empirical cumulative "
        "distribution functions (TKDE 2022)",
        tolerance=1e-12,
        equals="PyOD's scores of the training rows; other rows follow the "
        "frozen training distribution, where PyOD ranks them with their batch",
    ),
    Detector(
        name="hbos",
        title="Histograms (HBOS)",
        finds="values in sparse regions of single columns",
        defaults={"n_bins": 10, "alpha": 0.1},
        space={"n_bins": IntRange(5, 50, log=True), "alpha": FloatRange(0.02, 0.5, log=True)},
        fit_cost="very low; grows with rows × columns",
        score_cost="very low; grows with columns × bins",
        reference="Goldstein & Dengel, Histogram-based outlier score (KI 2012)",
        tolerance=1e-12,
        equals="PyOD's HBOS on robustly scaled rows",
    ),
    Detector(
        name="pca",
        title="Principal components",
        finds="rows that break the linear relations between columns",
        defaults={"variance": 0.99},
        space={"variance": FloatRange(0.80, 0.999)},
        fit_cost="low; grows with rows × columns²",
        score_cost="very low; grows with columns × components",
        reference="Shyu et al., A novel anomaly detection scheme based on principal component "
        "classifier (2003)",
        tolerance=1e-9,
        equals="PyOD's PCA on robustly scaled rows",
    ),
    Detector(
        name="knn",
        title="Nearest neighbours",
        finds="rows far from their nearest neighbours",
        defaults={"n_neighbors": 20, "method": "mean", "max_references": 2_048},
        space={
            "n_neighbors": IntRange(3, 50, log=True),
            "method": Choice(("mean", "largest", "median")),
        },
        fit_cost="low; grows with the square of the reference rows",
        score_cost="high; grows with reference rows × columns",
        reference="Ramaswamy, Rastogi & Shim, Efficient algorithms for mining outliers from large "
        "data sets (SIGMOD 2000)",
        tolerance=1e-9,
        equals="PyOD's KNN on the same robustly scaled reference rows",
    ),
    Detector(
        name="gmm",
        title="Gaussian mixture",
        finds="rows in low-density regions between or around groups",
        defaults={"n_components": 4, "reg_covar": 1e-2},
        space={"n_components": IntRange(1, 8), "reg_covar": FloatRange(1e-3, 1e-1, log=True)},
        fit_cost="moderate; grows with rows × components × columns²",
        score_cost="low; grows with components × columns²",
        reference="McLachlan & Peel, Finite mixture models (2000)",
        tolerance=1e-9,
        equals="PyOD's GMM on robustly scaled rows",
    ),
    Detector(
        name="copod",
        title="Copula tails (COPOD)",
        finds="values in the tails of single columns, the longer tail first",
        fit_cost="low; grows with rows × columns (a sort)",
        score_cost="low; grows with columns × log(training rows)",
        reference="Li et al., COPOD: copula-based outlier detection (ICDM 2020)",
        tolerance=1e-12,
        equals="PyOD's scores of the training rows; other rows follow the "
        "frozen training distribution, where PyOD ranks them with their batch",
        searched=False,
    ),
    Detector(
        name="loda",
        title="Random projections (LODA)",
        finds="rows in sparse regions of random one-dimensional views",
        defaults={"n_bins": 10, "n_random_cuts": 100},
        space={
            "n_bins": IntRange(5, 50, log=True),
            "n_random_cuts": IntRange(50, 400, log=True),
        },
        fit_cost="low; grows with rows × cuts",
        score_cost="low; grows with cuts × (√columns + bins)",
        reference="Pevný, Loda: lightweight on-line detector of anomalies (2016)",
        tolerance=1e-9,
        equals="PyOD's LODA on robustly scaled rows",
        searched=False,
    ),
    Detector(
        name="mcd",
        title="Minimum covariance determinant",
        finds="rows that break the covariance of the densest half",
        fit_cost="high; grows with rows × columns², and steeply beyond a hundred columns",
        score_cost="very low; grows with columns²",
        reference="Rousseeuw & Van Driessen, A fast algorithm for the minimum covariance "
        "determinant estimator (1999)",
        tolerance=1e-6,
        equals="PyOD's MCD on robustly scaled rows",
        searched=False,
    ),
    Detector(
        name="cblof",
        title="Cluster-based local outlier factor",
        finds="rows far from every large cluster",
        defaults={"n_clusters": 8, "alpha": 0.9, "beta": 5.0},
        space={
            "n_clusters": IntRange(2, 32, log=True),
            "alpha": FloatRange(0.6, 0.95),
            "beta": FloatRange(2.0, 10.0),
        },
        fit_cost="low; grows with rows × clusters × columns",
        score_cost="very low; grows with clusters × columns",
        reference="He, Xu & Deng, Discovering cluster-based local outliers (2003)",
        tolerance=1e-9,
        equals="PyOD's CBLOF on robustly scaled rows",
        searched=False,
    ),
    Detector(
        name="inne",
        title="Isolation by nearest neighbours (INNE)",
        finds="rows outside the hyperspheres of small random samples",
        defaults={"n_estimators": 200, "max_samples": 8},
        space={
            "n_estimators": IntRange(50, 400, log=True),
            "max_samples": IntRange(4, 64, log=True),
        },
        fit_cost="very low; grows with estimators × max_samples × columns",
        score_cost="moderate; grows with estimators × max_samples × columns",
        reference="Bandaragoda et al., Isolation-based anomaly detection using nearest-neighbor "
        "ensembles (2018)",
        tolerance=1e-9,
        equals="PyOD's INNE on robustly scaled rows, save rows on the rim of "
        "a hypersphere to the last digits, which the library itself places by rounding",
        searched=False,
    ),
    Detector(
        name="lof",
        title="Local outlier factor",
        finds="rows in sparser places than their neighbours",
        defaults={"n_neighbors": 20, "max_references": 2_048},
        space={"n_neighbors": IntRange(5, 100, log=True)},
        fit_cost="low; grows with the square of the reference rows",
        score_cost="high; grows with reference rows × columns",
        reference="Breunig et al., LOF: identifying density-based local outliers (SIGMOD 2000)",
        tolerance=1e-6,
        equals="scikit-learn's novelty scores on the same robustly scaled reference rows",
        searched=False,
    ),
    Detector(
        name="ocsvm",
        title="One-class support vector machine (rbf)",
        finds="rows outside a smooth border around the bulk",
        defaults={"nu": 0.5, "gamma": "auto", "max_references": 4_096},
        space={"nu": FloatRange(0.05, 0.7), "gamma": Choice(("auto", "scale"))},
        fit_cost="high; grows with the square of the reference rows",
        score_cost="high; grows with nu × reference rows × columns",
        reference="Schölkopf et al., Estimating the support of a high-dimensional distribution "
        "(2001)",
        tolerance=1e-9,
        equals="PyOD's OCSVM on the same robustly scaled reference rows",
        searched=False,
    ),
    Detector(
        name="mahalanobis",
        title="Mahalanobis distance (Ledoit–Wolf)",
        finds="rows that break the covariance of the bulk",
        fit_cost="low; grows with rows × columns²",
        score_cost="very low; grows with columns²",
        reference="Ledoit & Wolf, A well-conditioned estimator for large-dimensional covariance "
        "matrices (2004)",
        tolerance=1e-6,
        equals="scikit-learn's LedoitWolf on robustly scaled rows",
        family=False,
    ),
    Detector(
        name="cluster",
        title="Distance to large clusters",
        finds="rows far from every large k-means cluster; k doubles from level to level",
        defaults={"smallest": 4, "levels": 3},
        fit_cost="low; grows with rows × clusters × columns",
        score_cost="very low; grows with clusters × columns",
        reference="He, Xu & Deng, Discovering cluster-based local outliers (2003), summed over k",
        tolerance=1e-9,
        equals="scikit-learn's KMeans on robustly scaled rows",
        family=False,
    ),
    Detector(
        name="subsample",
        title="Distance to random subsamples",
        finds="rows that small random samples of the data rarely come near",
        defaults={"subsamples": 40, "size": 16},
        fit_cost="none to speak of",
        score_cost="low; grows with subsamples × size × columns",
        reference="Sugiyama & Borgwardt, Rapid distance-based outlier detection via sampling "
        "(NIPS 2013)",
        tolerance=1e-9,
        equals="scipy's distances on robustly scaled rows",
        family=False,
    ),
    Detector(
        name="deviation",
        title="Absurd deviation",
        finds="single values farther outside their column than rows ever get; silent on all others",
        defaults={"beyond": 2.0},
        fit_cost="none to speak of",
        score_cost="very low; grows with columns",
        reference="robust z-scores, Iglewicz & Hoaglin, How to detect and handle outliers (1993)",
        tolerance=1e-9,
        equals="numpy's arithmetic",
        family=False,
    ),
    Detector(
        name="surrogate",
        title="Surrogate forest",
        finds="rows whose columns, a few at a time, foretell that an ensemble finds them strange",
        defaults={"trees": 100, "min_leaf": 3},
        fit_cost="medium; grows with trees × rows × log(rows) × columns",
        score_cost="low; grows with trees × depth, not with columns",
        reference="Geurts, Ernst & Wehenkel, Extremely randomized trees (Machine Learning 2006); "
        "Ye et al., UADB: Unsupervised anomaly detection booster (ICDE 2023)",
        tolerance=1e-9,
        equals="scikit-learn's ExtraTreesRegressor on robustly scaled rows",
        family=False,
    ),
)
