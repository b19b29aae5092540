"""Model folders: exact, reproducible, and refused when a single byte is off."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from pynomaly.application.preprocessing import encode, fit_preprocessing
from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.encodings import CategoricalEncoding, NumericEncoding, TimeEncoding
from pynomaly.domain.errors import IntegrityError, OutputExistsError, OutputNotWritableError
from pynomaly.domain.models import (
    Calibration,
    Imputation,
    Member,
    Model,
    ModelCard,
    Normalisation,
    Preprocessing,
    Seen,
)
from pynomaly.infrastructure.modelfolder import FolderModelStore
from pynomaly.infrastructure.modelfolder.archive import read_arrays, write_arrays

STORE = FolderModelStore()
GOLDEN = pa.table({"a": [1.0, None], "expected_score": [0.5, -0.25]})


def _model() -> Model:
    return Model(
        ModelCard(
            "payments", "run-1", "knn", {"k": 3, "method": "mean"}, "ab", 9, 0, {"numpy": "2"},
            configuration={"decision": {"budget": 0.01}}, revision={"pynomaly": "1"},
            trials=({"number": 0, "detector": "knn", "params": {"k": 3}, "value": None},),
        ),
        Schema((Column("a", "numeric"), Column("größe", "categorical", nullable=False))),
        Preprocessing(
            (
                NumericEncoding("a", 0.1 + 0.2, -1e30, 1e30, True, (0.0, *[1 / 3] * 16), 0.2),
                CategoricalEncoding("größe", ("x", None), (0.75, 0.25), 2.5, (0.7, 0.3)),
                TimeEncoding("t", 1.5e9, False, (0.1, 0.9, *[0.0] * 22), (), 0.0),
            ),
            ("a", "a=missing", "größe:rarity", "t:hour_sin", "t:hour_cos"),
            (0, 0, 1, 2, 2),
            np.array([[1.0, 0.0, 0.3, 1.0, np.pi], [0.0, 0.0, 0.3, 1.0, -np.e]]),
            Imputation(
                np.arange(5.0), np.full(5, 1 / 3), np.arange(5.0) / 7, np.array([0]),
                np.array([[2, 4, -1]]), np.arange(16.0).reshape(1, 4, 4) / 7,
            ),
        ),
        (
            Member(
                "knn", {"k": 3}, {"references": np.arange(6.0).reshape(2, 3), "k": np.array([3])},
                Normalisation(0.1, 1 / 3, 0.0, 1.0),
            ),
        ),
        Calibration(np.array([-0.5, 0.1, 1e300])),
        seen=Seen(np.array([1, 2**64 - 1], np.uint64), np.array([7], np.uint64)),
    )  # fmt: skip


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "models" / "m"
    return folder, STORE.save(_model(), GOLDEN, folder)


def _reseal(folder) -> str:
    """Make the manifest agree with whatever the files hold now."""
    lines = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("arrays.npz", "golden.parquet", "model.json")
    ]
    (folder / "MANIFEST.sha256").write_text("".join(lines))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def test_a_model_comes_back_exactly(saved):
    loaded, model = STORE.load(*saved), _model()
    assert loaded.card == model.card
    assert loaded.schema == model.schema
    assert loaded.preprocessing.encodings == model.preprocessing.encodings
    assert loaded.preprocessing.features == model.preprocessing.features
    assert loaded.preprocessing.owners == model.preprocessing.owners
    np.testing.assert_array_equal(loaded.preprocessing.references, model.preprocessing.references)
    np.testing.assert_array_equal(loaded.calibration.scores, model.calibration.scores)
    [member] = loaded.members
    assert (member.detector, member.params) == ("knn", {"k": 3})
    assert member.normalisation == model.members[0].normalisation
    np.testing.assert_array_equal(
        member.arrays["references"], model.members[0].arrays["references"]
    )
    assert member.arrays["k"].dtype == model.members[0].arrays["k"].dtype
    np.testing.assert_array_equal(loaded.seen.fitted, model.seen.fitted)
    np.testing.assert_array_equal(loaded.seen.taught, model.seen.taught)


def test_a_model_from_before_it_kept_what_it_saw_comes_back(tmp_path):
    STORE.save(replace(_model(), seen=None), GOLDEN, tmp_path / "old")
    document = json.loads((tmp_path / "old" / "model.json").read_text())
    del document["card"]["verdicts"]
    (tmp_path / "old" / "model.json").write_text(json.dumps(document))
    model = STORE.load(tmp_path / "old", _reseal(tmp_path / "old"))
    assert model.seen is None
    assert model.card.verdicts == {}


def test_golden_rows_come_back(saved):
    assert STORE.golden(*saved).equals(GOLDEN)


def test_equal_models_give_equal_digests(saved, tmp_path):
    assert STORE.save(_model(), GOLDEN, tmp_path / "again") == saved[1]


def test_the_manifest_is_the_common_checksum_format(saved):
    folder, digest = saved
    text = (folder / "MANIFEST.sha256").read_text()
    assert [line.split("  ")[1] for line in text.splitlines()] == [
        "arrays.npz", "golden.parquet", "model.json",
    ]  # fmt: skip
    assert hashlib.sha256(text.encode()).hexdigest() == digest


def test_arrays_are_readable_by_numpy(saved):
    with np.load(saved[0] / "arrays.npz", allow_pickle=False) as arrays:
        assert "members.0.references" in arrays.files


@pytest.mark.parametrize("name", ["model.json", "arrays.npz", "golden.parquet", "MANIFEST.sha256"])
def test_one_changed_byte_is_refused(saved, name):
    folder, digest = saved
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    for read in (STORE.load, STORE.golden):
        with pytest.raises(IntegrityError, match=name):
            read(folder, digest)


@pytest.mark.parametrize("name", ["model.json", "arrays.npz", "golden.parquet", "MANIFEST.sha256"])
def test_a_missing_file_is_refused(saved, name):
    (saved[0] / name).unlink()
    with pytest.raises(IntegrityError, match=f"missing {name}"):
        STORE.load(*saved)


def test_an_extra_file_is_refused(saved):
    (saved[0] / "loader.py").write_text("print('hello')")
    with pytest.raises(IntegrityError, match=r"unexpected loader\.py"):
        STORE.load(*saved)


def test_a_linked_file_is_refused_even_with_equal_bytes(saved, tmp_path):
    folder, digest = saved
    shutil.move(folder / "model.json", tmp_path / "elsewhere.json")
    (folder / "model.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(IntegrityError, match="not a regular file"):
        STORE.load(folder, digest)


def test_a_linked_folder_is_refused(saved, tmp_path):
    (tmp_path / "link").symlink_to(saved[0])
    with pytest.raises(IntegrityError, match="not a model folder"):
        STORE.load(tmp_path / "link", saved[1])


def test_a_folder_that_agrees_with_itself_but_not_with_the_record_is_refused(saved):
    folder, digest = saved
    other = replace(_model(), calibration=Calibration(np.zeros(1)))
    shutil.rmtree(folder)
    STORE.save(other, GOLDEN, folder)
    with pytest.raises(IntegrityError, match=f"recorded is {digest}"):
        STORE.load(folder, digest)


def test_a_pickled_array_is_refused_though_the_record_agrees(saved):
    folder, _ = saved
    buffer = io.BytesIO()
    np.savez(buffer, evil=np.array([{"a": 1}], dtype=object))
    (folder / "arrays.npz").write_bytes(buffer.getvalue())
    with pytest.raises(IntegrityError, match=r"arrays\.npz cannot be read"):
        STORE.load(folder, _reseal(folder))


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([1j]), np.array(["2026"], "M8[s]")])
def test_only_plain_numbers_are_read(array):
    with pytest.raises(IntegrityError, match="dtype"):
        read_arrays(write_arrays({"a": array}))


@pytest.mark.parametrize(
    ("name", "method"), [("../a.npy", zipfile.ZIP_STORED), ("a.npy", zipfile.ZIP_DEFLATED)]
)
def test_entries_that_escape_or_inflate_are_refused(name, method):
    content = io.BytesIO()
    np.save(content, np.zeros(3))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(name, content.getvalue())
    with pytest.raises(IntegrityError, match="is not ours"):
        read_arrays(buffer.getvalue())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 99}, "format version 99"),
        ({"members": []}, "not a model"),
        ({"combination": "maximum"}, "not a model"),
        ({"members": None}, "not a model"),
    ],
)
def test_a_document_we_do_not_understand_is_refused(saved, change, message):
    folder, _ = saved
    document = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**document, **change}))
    with pytest.raises(IntegrityError, match=message):
        STORE.load(folder, _reseal(folder))


@pytest.mark.parametrize(
    ("name", "forged"),
    [
        ("telling", np.array([[2, 5, -1]])),
        ("telling", np.array([[2, 4, 1, 0]])),
        ("spread", np.ones(4)),
        ("targets", np.array([4])),
        ("targets", np.array([0, 2])),
        ("spread", np.zeros(5)),
        ("covariances", np.full((1, 4, 4), np.nan)),
        ("telling", np.array([[2, 4, -2]])),
        ("covariances", np.zeros((2, 4, 4))),
    ],
)
def test_arrays_that_do_not_tell_missing_numbers_are_refused(saved, name, forged):
    folder, _ = saved
    arrays = read_arrays((folder / "arrays.npz").read_bytes())
    (folder / "arrays.npz").write_bytes(write_arrays({**arrays, f"imputation.{name}": forged}))
    with pytest.raises(IntegrityError, match="not a model"):
        STORE.load(folder, _reseal(folder))


def _one_more(preprocessing):
    preprocessing["features"].append("t:day_sin")
    preprocessing["owners"].append(2)


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(_one_more, id="a feature nobody writes"),
        pytest.param(lambda p: p["features"].pop(), id="a feature too few"),
        pytest.param(lambda p: p.update(owners=[0, 0, 7, 2, 2]), id="another owner"),
        pytest.param(lambda p: p.update(owners=[0.0, 0, 1, 2, 2]), id="an owner that is no place"),
        pytest.param(lambda p: p["encodings"][0].update(quantiles=[]), id="no quantiles"),
        pytest.param(lambda p: p["encodings"][0]["quantiles"].reverse(), id="quantiles fall"),
        pytest.param(lambda p: p["encodings"][0].update(lower=1e30, upper=0.0), id="bounds"),
        pytest.param(lambda p: p["encodings"][0].update(fill="x"), id="a text for a number"),
        pytest.param(lambda p: p["encodings"][0].update(upper=1e999), id="infinite"),
        pytest.param(lambda p: p["encodings"][1].update(levels=["x"]), id="a level too few"),
        pytest.param(lambda p: p["encodings"][1].update(levels=["x", 1]), id="levels of no text"),
        pytest.param(lambda p: p["encodings"][2].update(hours=[0.5, 0.5]), id="two hours"),
        pytest.param(lambda p: p["encodings"][2].update(missing_indicator=1), id="1 for true"),
    ],
)
def test_preprocessing_that_does_not_hold_together_is_refused(saved, forge):
    folder, _ = saved
    document = json.loads((folder / "model.json").read_text())
    forge(document["preprocessing"])
    (folder / "model.json").write_text(json.dumps(document).replace("Infinity", "1e999"))
    with pytest.raises(IntegrityError, match="not a model"):
        STORE.load(folder, _reseal(folder))


@pytest.mark.parametrize(
    ("name", "value"),
    [("mean", "nan"), ("mean", None), ("spread", 0.0), ("std", 0), ("median", 1e999)],
)
def test_a_scale_that_makes_no_numbers_is_refused(saved, name, value):
    folder, _ = saved
    document = json.loads((folder / "model.json").read_text())
    document["members"][0]["normalisation"][name] = value
    (folder / "model.json").write_text(json.dumps(document).replace("Infinity", "1e999"))
    with pytest.raises(IntegrityError, match="not a model"):
        STORE.load(folder, _reseal(folder))


@pytest.mark.parametrize("weight", ["nan", None, True, 0, -1, 10**400])
def test_a_weight_that_is_no_positive_number_is_refused(saved, weight):
    folder, _ = saved
    document = json.loads((folder / "model.json").read_text())
    document["members"][0]["weight"] = weight
    (folder / "model.json").write_text(json.dumps(document))
    with pytest.raises(IntegrityError, match="not a model"):
        STORE.load(folder, _reseal(folder))


@pytest.mark.parametrize(
    "forged", [np.zeros((2, 4)), np.zeros((0, 5)), np.zeros(5), np.full((2, 5), np.nan)]
)
def test_reference_rows_of_something_else_are_refused(saved, forged):
    folder, _ = saved
    arrays = read_arrays((folder / "arrays.npz").read_bytes())
    arrays["preprocessing.references"] = forged
    (folder / "arrays.npz").write_bytes(write_arrays(arrays))
    with pytest.raises(IntegrityError, match="not a model"):
        STORE.load(folder, _reseal(folder))


@pytest.mark.parametrize("forged", [[], [[0.0, 1.0]], [0.0, np.nan], [1.0, 0.0]])
def test_a_calibration_that_gives_no_p_values_is_refused(saved, forged):
    folder, _ = saved
    arrays = read_arrays((folder / "arrays.npz").read_bytes())
    arrays["calibration.scores"] = np.array(forged, dtype=np.float64)
    (folder / "arrays.npz").write_bytes(write_arrays(arrays))
    with pytest.raises(IntegrityError, match="not a model"):
        STORE.load(folder, _reseal(folder))


def test_a_column_may_be_named_like_the_gaps_of_another(tmp_path):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 200))
    b[::9] = np.nan
    columns = {"a": a, "a=missing": a + b, "b": b}
    table = pa.table({name: pa.array(x, from_pandas=True) for name, x in columns.items()})
    schema = Schema(tuple(Column(name, "numeric") for name in columns))
    model = replace(_model(), preprocessing=fit_preprocessing(table, schema), schema=schema)
    digest = STORE.save(model, GOLDEN, tmp_path / "m")
    kept = STORE.load(tmp_path / "m", digest).preprocessing
    np.testing.assert_array_equal(encode(kept, table), encode(model.preprocessing, table))


def test_an_unused_array_is_refused(saved):
    folder, _ = saved
    arrays = read_arrays((folder / "arrays.npz").read_bytes())
    (folder / "arrays.npz").write_bytes(write_arrays({**arrays, "extra": np.zeros(1)}))
    with pytest.raises(IntegrityError, match="extra"):
        STORE.load(folder, _reseal(folder))


def test_an_existing_folder_is_never_written_to(saved):
    folder, digest = saved
    with pytest.raises(OutputExistsError):
        STORE.save(_model(), GOLDEN, folder)
    assert STORE.load(folder, digest).card == _model().card


def test_a_parent_that_is_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputNotWritableError):
        STORE.save(_model(), GOLDEN, tmp_path / "file" / "m")


def test_nothing_is_left_behind_next_to_a_saved_folder(saved):
    assert [path.name for path in saved[0].parent.iterdir()] == ["m"]
