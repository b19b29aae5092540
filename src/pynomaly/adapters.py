"""The part of the composition root that needs no settings: detectors, sources, sinks, pages.

What learns and scores in memory is wired here, for :mod:`.bootstrap` and for people who have no
project.  Everything is imported on first use.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from pynomaly.application.detect import DetectAnomalies
    from pynomaly.application.learn import LearnModel
    from pynomaly.application.ports.data import OutputSinks, Source, Sources
    from pynomaly.application.ports.learning import (
        DetectorFitter,
        Kernels,
        LabelFitter,
        ModelStore,
    )
    from pynomaly.application.ports.partitions import PartitionReader, PartStore
    from pynomaly.application.ports.reporting import Reports
    from pynomaly.application.verify_evidence import VerifyEvidence
    from pynomaly.domain.sources import SourceSpec

__all__ = [
    "anomaly_detection",
    "data_sources",
    "detector_fitter",
    "detector_kernels",
    "evidence_verification",
    "label_fitter",
    "model_folders",
    "model_learner",
    "output_sinks",
    "page_reports",
    "part_store",
    "partition_reader",
    "source_listing",
    "table_source",
    "uncertified_parameters",
]


def detector_kernels(threads: int | None = None) -> Kernels:
    """Return what scores frozen detectors; it needs no settings.

    Args:
        threads: Score large batches with so many; None for all this process may use.
    """
    from pynomaly.infrastructure.kernels import FrozenKernels
    from pynomaly.infrastructure.pyod.uncertified import RefittedDetectors

    return FrozenKernels(uncertified=RefittedDetectors().score, threads=threads)


def detector_fitter(
    kernels: Kernels, tolerance: float = 1e-6, compared: float = 0.0
) -> DetectorFitter:
    """Return what fits and freezes detectors; it needs no settings.

    Args:
        kernels: Score frozen copies in the self-test.
        tolerance: Relative deviation the self-test allows; the default leaves room for awkward
            data.
        compared: Least share of rows that the self-test must be able to compare.
    """
    from pynomaly.infrastructure.kernels.frozen import available_threads
    from pynomaly.infrastructure.pyod.fitter import PyodFitter

    return PyodFitter(kernels, tolerance, compared, available_threads)


def label_fitter(kernels: Kernels) -> LabelFitter:
    """Return what fits and freezes classifiers on labelled rows; it needs no settings.

    Args:
        kernels: Score frozen copies in the self-test.
    """
    from pynomaly.infrastructure.pyod.labels import SklearnLabelFitter

    return SklearnLabelFitter(kernels)


def data_sources() -> Sources:
    """Return what opens files, folders, buckets and databases; it needs no settings."""
    from pynomaly.infrastructure.arrow.sources import TableSources
    from pynomaly.infrastructure.filesystem.files import find_local_files
    from pynomaly.infrastructure.s3.files import find_s3_objects

    def open_database(spec: SourceSpec) -> Source:
        from pynomaly.infrastructure.sqlalchemy.source import open_sql_source

        return open_sql_source(spec)

    return TableSources(local=find_local_files, s3=find_s3_objects, sql=open_database)


def source_listing(uri: str) -> Mapping[str, str]:
    """Return the state of every file or object behind ``uri``, by its address; reads none.

    For a file that is its size and the time of its last change, for an object its ETag.

    Args:
        uri: A file, folder or glob, or ``s3://…``.

    Raises:
        SourceNotFoundError: Nothing is there, or it may not be read.
    """
    if uri.startswith("s3://"):
        from pynomaly.infrastructure.s3.files import find_s3_objects

        return {item.uri: item.version for item in find_s3_objects(uri)}
    from pynomaly.infrastructure.filesystem.files import find_local_files

    states = ((file.uri, file.path.stat()) for file in find_local_files(uri))
    return {name: f"{state.st_size}:{state.st_mtime_ns}" for name, state in states}


def table_source(table: pa.Table, name: str) -> Source:
    """Return a table in memory as a source.

    Args:
        table: Its rows.
        name: How they are called.

    Raises:
        MalformedSourceError: No column, no row, or two columns of one name.
    """
    from pynomaly.infrastructure.arrow.memory import TableSource

    return TableSource(table, name)


def output_sinks(*, sse: str | None = None, kms_key: str | None = None) -> OutputSinks:
    """Return what writes the outputs users ask for.

    Args:
        sse: Server-side encryption of objects on S3, as for :func:`part_store`.
        kms_key: Likewise.

    Raises:
        ConfigurationError: A key without ``aws:kms``.
    """
    from pynomaly.infrastructure.arrow.outputs import TableSinks
    from pynomaly.infrastructure.filesystem.targets import open_local_target
    from pynomaly.infrastructure.s3.client import Encryption
    from pynomaly.infrastructure.s3.targets import S3Target

    return TableSinks(local=open_local_target, s3=S3Target(Encryption(sse, kms_key)))


def partition_reader(*, workers: int = 1) -> PartitionReader:
    """Return what divides files, folders, buckets and databases.

    From then on Arrow takes memory from the C library, unless ``ARROW_DEFAULT_MEMORY_POOL`` says
    otherwise.  Its own allocator gives what a batch leaves back to the kernel within milliseconds
    and takes it anew for the next one, which costs a job a sixth of its CPU.  So does the C library
    where somebody has lowered its threshold for that, as Dask does for its workers.

    Args:
        workers: Threads that read at once.
    """
    import pyarrow as pa

    set_by_hand = os.environ.keys() & {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"}
    if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ and len(set_by_hand) != 1:
        pa.set_memory_pool(pa.system_memory_pool())
    from pynomaly.infrastructure.arrow.partitions import FilePlace, TablePartitions
    from pynomaly.infrastructure.filesystem.files import find_local_files, local_file, one_spelling
    from pynomaly.infrastructure.s3.files import find_s3_objects, s3_object

    def databases() -> PartitionReader:
        from pynomaly.infrastructure.sqlalchemy.partitions import SqlPartitions

        return SqlPartitions()

    return TablePartitions(
        local=FilePlace(find_local_files, local_file, one_spelling),
        s3=FilePlace(
            partial(find_s3_objects, connections=workers), partial(s3_object, connections=workers)
        ),
        sql=databases,
    )


def part_store(
    *, workers: int = 1, sse: str | None = None, kms_key: str | None = None
) -> PartStore:
    """Return what stores scored parts in folders, on S3 and in databases.

    Args:
        workers: Threads that use it at once.
        sse: Server-side encryption of objects on S3: ``AES256`` or ``aws:kms``; None leaves it to
            the bucket.
        kms_key: Key id for ``aws:kms``; None for the account's own.

    Raises:
        ConfigurationError: A key without ``aws:kms``.
    """
    from pynomaly.infrastructure.arrow.parts import FileParts, PartStores
    from pynomaly.infrastructure.filesystem.parts import FolderParts
    from pynomaly.infrastructure.s3.client import Encryption
    from pynomaly.infrastructure.s3.parts import PrefixParts
    from pynomaly.infrastructure.sqlalchemy.score_table import TableParts

    return PartStores(
        local=FileParts(FolderParts()),
        s3=FileParts(PrefixParts(workers, Encryption(sse, kms_key))),
        sql=TableParts(),
    )


def page_reports() -> Reports:
    """Return what renders pages; it needs no settings."""
    from pynomaly.infrastructure.reports.html import HtmlReports

    return HtmlReports()


def model_learner() -> LearnModel:
    """Return what chooses, fits and calibrates models in memory; nothing is stored."""
    from pynomaly.application.fit import FitScorer
    from pynomaly.application.learn import LearnModel
    from pynomaly.application.tune import ChooseDetector
    from pynomaly.infrastructure.optuna.tuner import OptunaTuner

    kernels = detector_kernels()
    fitter = detector_fitter(kernels)
    return LearnModel(
        ChooseDetector(fitter, kernels, OptunaTuner(None)),
        FitScorer(fitter, label_fitter(kernels), kernels),
    )


def anomaly_detection() -> DetectAnomalies:
    """Return what detects anomalies in any source, without settings or state."""
    from pynomaly.application.detect import DetectAnomalies

    learner = model_learner()
    return DetectAnomalies(learner, learner.fit.kernels, output_sinks())


def uncertified_parameters(detector: str) -> Mapping[str, object]:
    """Return what a detector of PyOD's takes besides a seed, with defaults.

    Raises:
        MissingExtraError: It needs a package that is not installed.
    """
    from pynomaly.infrastructure.pyod.uncertified import parameters

    return parameters(detector)


def model_folders() -> ModelStore:
    """Return what reads and writes model folders; it needs no settings."""
    from pynomaly.infrastructure.modelfolder import FolderModelStore

    return FolderModelStore()


def evidence_verification() -> VerifyEvidence:
    """Return what checks bundles of evidence, without settings, state or network."""
    from pynomaly.application.verify_evidence import VerifyEvidence
    from pynomaly.infrastructure.evidence import Ed25519Signatures, ZipBundles

    return VerifyEvidence(ZipBundles(), Ed25519Signatures(), model_folders(), detector_kernels())
