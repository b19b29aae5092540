"""A bundle is one signed file in which nothing can be changed without notice."""

import hashlib
import io
import stat
import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evidence_bundles import BUNDLES, VERIFY, Parts, parts_of, sealed
from pynomaly.domain.errors import (
    ConfigurationError,
    IntegrityError,
    OutputExistsError,
    SourceNotFoundError,
    UsageError,
)
from pynomaly.domain.evidence import CHAIN, SIGNATURE, chain_of, key_fingerprint
from pynomaly.infrastructure.evidence import Ed25519Signer

SMALL: Parts = [("a.json", b"{}\n"), ("data/b.txt", b"PK\3\4 is also text"), ("model/c", b"")]


@pytest.fixture
def signer(tmp_path: Path) -> Ed25519Signer:
    return Ed25519Signer(tmp_path / "keys" / "key.pem", create=True)


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return parts_of(tmp_path / "model")


def written(parts: Parts, folder: Path) -> Path:
    path = folder / "bundle.zip"
    BUNDLES.write(parts, path, overwrite=True)
    return path


def test_what_is_written_is_read_and_any_tool_opens_it(tmp_path: Path) -> None:
    path = written(SMALL, tmp_path)
    assert BUNDLES.read(path) == SMALL
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert [(i.filename, archive.read(i)) for i in archive.infolist()] == SMALL


def test_equal_parts_give_equal_bytes_and_others_replace_nothing(tmp_path: Path) -> None:
    path = written(SMALL, tmp_path)
    before = path.read_bytes()
    BUNDLES.write(SMALL, path, overwrite=False)
    assert path.read_bytes() == before
    with pytest.raises(OutputExistsError, match=r"bundle\.zip exists already"):
        BUNDLES.write(SMALL[:2], path, overwrite=False)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["bundle.zip"]


def test_no_byte_of_the_file_can_change(tmp_path: Path) -> None:
    path = written(SMALL, tmp_path)
    content = path.read_bytes()
    for position in range(len(content)):
        for mask in (0x01, 0x20, 0x80):
            damaged = bytearray(content)
            damaged[position] ^= mask
            path.write_bytes(damaged)
            with pytest.raises(IntegrityError):
                BUNDLES.read(path)


def test_damage_is_reported_with_the_name_of_the_part(tmp_path: Path) -> None:
    path = written(SMALL, tmp_path)
    content = path.read_bytes()
    start = content.index(b"data/b.txt") - 30
    end = content.index(b"model/c") - 30
    for position in range(start, end):
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError, match=r"data/b\.txt"):
            BUNDLES.read(path)


@pytest.mark.parametrize("kept", [0, 1, 29, 60, 100, -1])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, kept: int) -> None:
    path = written(SMALL, tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(IntegrityError):
        BUNDLES.read(path)


@pytest.mark.parametrize("addition", [b"\0", b"PK\5\6" + bytes(18)])
def test_nothing_can_be_appended_or_put_in_front(tmp_path: Path, addition: bytes) -> None:
    path = written(SMALL, tmp_path)
    content = path.read_bytes()
    for changed in (content + addition, addition + content):
        path.write_bytes(changed)
        with pytest.raises(IntegrityError):
            BUNDLES.read(path)


def forged(name: str, content: bytes, *, deflated: bool = False, mode: int = 0o100644) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo(name)
        entry.create_system = 3
        entry.external_attr = mode << 16
        entry.compress_type = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
        archive.writestr(entry, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(forged("a.json", bytes(50_000_000), deflated=True), id="a bomb"),
        pytest.param(forged("../../etc/passwd", b"x"), id="a path out of the folder"),
        pytest.param(forged("/etc/passwd", b"x"), id="an absolute path"),
        pytest.param(forged("model/.hidden", b"x"), id="a hidden name"),
        pytest.param(forged("a.json", b"/etc/passwd", mode=stat.S_IFLNK | 0o777), id="a link"),
        pytest.param(forged("ä.json", b"x"), id="a name that is not ASCII"),
        pytest.param(b"no zip at all", id="something else"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_we_would_never_write_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bundle.zip"
    path.write_bytes(content)
    with pytest.raises(IntegrityError):
        BUNDLES.read(path)


def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in (("a.json", b"one"), ("b.json", b"two")):
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, content)
    (tmp_path / "bundle.zip").write_bytes(buffer.getvalue().replace(b"b.json", b"a.json"))
    with pytest.raises(IntegrityError, match=r"a\.json comes twice"):
        BUNDLES.read(tmp_path / "bundle.zip")
    with pytest.raises(ValueError, match="twice"):
        BUNDLES.write([("a", b"1"), ("a", b"2")], tmp_path / "x.zip", overwrite=False)


def test_a_sealed_bundle_is_intact_and_says_whose_key_it_was(
    tmp_path: Path, parts: Parts, signer: Ed25519Signer
) -> None:
    path = written(sealed(parts, signer), tmp_path)
    found = VERIFY(path)
    assert (found.pipeline, found.version, found.parts) == ("check", 3, len(parts))
    assert (found.golden_rows, found.golden_deviation) == (8, 0.0)
    assert found.not_recorded == ("a fact that nobody kept",)
    assert found.key_fingerprint == key_fingerprint(signer.public_key())
    assert not found.pinned
    pem = tmp_path / "public.pem"
    pem.write_text(signer.public_pem() + "sha256:… and other remarks\n")
    for key in (str(pem), found.key_fingerprint, found.key_fingerprint[7:].upper()):
        assert VERIFY(path, key).pinned


def test_a_bundle_signed_by_somebody_else_is_refused_where_the_key_is_given(
    tmp_path: Path, parts: Parts, signer: Ed25519Signer
) -> None:
    forger = Ed25519Signer(tmp_path / "forger.pem", create=True)
    path = written(sealed(parts, forger), tmp_path)
    assert not VERIFY(path).pinned
    with pytest.raises(IntegrityError, match=r"signature\.json: signed with the key sha256:"):
        VERIFY(path, key_fingerprint(signer.public_key()))


def test_every_change_of_a_part_is_named(
    tmp_path: Path, parts: Parts, signer: Ed25519Signer
) -> None:
    whole = sealed(parts, signer)
    for position, (name, content) in enumerate(whole):
        for changed in (content + b" ", content[:-1], b"", content[::-1]):
            edited = [*whole[:position], (name, changed), *whole[position + 1 :]]
            with pytest.raises(IntegrityError, match=name):
                VERIFY(written(edited, tmp_path))
        removed = [*whole[:position], *whole[position + 1 :]]
        with pytest.raises(IntegrityError, match=name):
            VERIFY(written(removed, tmp_path))


def test_a_chain_that_was_made_anew_for_edited_parts_does_not_have_the_signature(
    tmp_path: Path, parts: Parts, signer: Ed25519Signer
) -> None:
    *_, (_, signature) = sealed(parts, signer)
    edited = [*parts[:-1], ("releases/r1.json", b'{"verdict": "block"}\n')]
    anew = [*edited, (CHAIN, chain_of(edited).document), (SIGNATURE, signature)]
    with pytest.raises(IntegrityError, match=r"signature\.json"):
        VERIFY(written(anew, tmp_path))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (CHAIN, b'"size": 3', b'"size": NaN'),
        (CHAIN, b'"size": 1', b'"size": true'),
        (CHAIN, b'"parts": [', b'"parts": [3, '),
        (CHAIN, b'"format": 1', b'"format": 2'),
        (SIGNATURE, b'"Ed25519"', b'"RS256"'),
        (SIGNATURE, b'"signature"', b'"unsigned"'),
    ],
)
def test_documents_that_are_none_are_refused_by_name(
    tmp_path: Path, signer: Ed25519Signer, name: str, old: bytes, new: bytes
) -> None:
    whole = sealed([("a.json", b"{}\n"), ("b.txt", b"b")], signer)
    assert old in dict(whole)[name]
    edited = [(n, c.replace(old, new, 1) if n == name else c) for n, c in whole]
    with pytest.raises(IntegrityError, match=name):
        VERIFY(written(edited, tmp_path))


def test_a_model_that_does_not_score_as_it_did_is_found_however_well_it_is_signed(
    tmp_path: Path, parts: Parts, signer: Ed25519Signer
) -> None:
    def with_model(**changed: bytes) -> Path:
        edited = [(n, changed.get(n.removeprefix("model/"), c)) for n, c in parts]
        return written(sealed(edited, signer), tmp_path)

    files = {name.removeprefix("model/"): content for name, content in parts}
    with pytest.raises(IntegrityError, match=r"model.*golden\.parquet differs from the manifest"):
        VERIFY(with_model(**{"golden.parquet": files["golden.parquet"] + b"x"}))
    with pytest.raises(IntegrityError, match=r"model/MANIFEST\.sha256: sha256 is"):
        VERIFY(with_model(**{"MANIFEST.sha256": files["MANIFEST.sha256"] + b"\n"}))
    # Honest digests all the way, and a golden row that the model contradicts.
    import pyarrow as pa
    import pyarrow.parquet as pq

    golden = pq.read_table(io.BytesIO(files["golden.parquet"]))
    scores = golden.column("expected_score").to_numpy() + 1e-6
    buffer = io.BytesIO()
    place = golden.schema.get_field_index("expected_score")
    pq.write_table(golden.set_column(place, "expected_score", pa.array(scores)), buffer)
    old = hashlib.sha256(files["golden.parquet"]).hexdigest()
    new = hashlib.sha256(buffer.getvalue()).hexdigest()
    manifest = files["MANIFEST.sha256"].replace(old.encode(), new.encode())
    before, after = (
        hashlib.sha256(m).hexdigest().encode() for m in (files["MANIFEST.sha256"], manifest)
    )
    subject = files["bundle.json"].replace(before, after)
    forged = {
        "golden.parquet": buffer.getvalue(), "MANIFEST.sha256": manifest, "bundle.json": subject,
    }  # fmt: skip
    with pytest.raises(IntegrityError, match=r"model/golden\.parquet: scored here"):
        VERIFY(with_model(**forged))
    with pytest.raises(IntegrityError, match=r"model/model\.json: is of pipeline 'check'"):
        VERIFY(with_model(**{"bundle.json": files["bundle.json"].replace(b'"check"', b'"other"')}))


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "key.pem"
    first = Ed25519Signer(path, create=True).public_key()
    assert Ed25519Signer(path, create=True).public_key() == first
    assert [p.name for p in path.parent.iterdir()] == ["key.pem"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    together = tmp_path / "race" / "key.pem"
    with ThreadPoolExecutor(8) as pool:
        keys = pool.map(
            lambda _: Ed25519Signer(together, create=True).public_key(), range(16), timeout=30
        )
        assert len(set(keys)) == 1
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="can be read or changed by anybody"):
        Ed25519Signer(path, create=True).public_key()


def test_keys_of_openssl_are_taken_and_others_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Ed25519Signer(path, create=False).public_key()
    for algorithm, taken in (("ed25519", True), ("x25519", False)):
        made = subprocess.run(
            ["openssl", "genpkey", "-algorithm", algorithm], capture_output=True, check=False
        )
        if made.returncode:
            pytest.skip("openssl is not installed here")
        path.write_bytes(made.stdout)
        path.chmod(0o600)
        signer = Ed25519Signer(path, create=False)
        if taken:
            assert len(signer.public_key()) == 32
        else:
            with pytest.raises(ConfigurationError, match="not an Ed25519 key"):
                signer.sign(b"")
    path.write_text("nothing")
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="not an unencrypted PEM file"):
        Ed25519Signer(path, create=False).public_key()


def test_a_key_to_verify_with_that_is_none_is_told(tmp_path: Path, parts: Parts) -> None:
    for key in ("sha256:12", str(tmp_path / "missing.pem")):
        with pytest.raises(UsageError, match="cannot be read"):
            VERIFY(tmp_path / "any.zip", key)
    (tmp_path / "text.pem").write_text("no key")
    with pytest.raises(UsageError, match="is not a public key"):
        VERIFY(tmp_path / "any.zip", str(tmp_path / "text.pem"))
    with pytest.raises(SourceNotFoundError, match=r"any\.zip cannot be read"):
        VERIFY(tmp_path / "any.zip")
