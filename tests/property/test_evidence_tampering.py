"""Whatever is done to a sealed bundle, it is noticed, and what was touched is named."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evidence_bundles import BUNDLES, VERIFY, Parts, parts_of, sealed
from pynomaly.domain.errors import IntegrityError
from pynomaly.domain.evidence import CHAIN, SIGNATURE
from pynomaly.infrastructure.evidence import Ed25519Signer

QUICK = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evidence")


@pytest.fixture(scope="module")
def parts(folder: Path) -> Parts:
    signer = Ed25519Signer(folder / "key.pem", create=True)
    return sealed(parts_of(folder / "model"), signer)


def refused(parts: Parts, folder: Path) -> str:
    path = folder / "tampered.zip"
    BUNDLES.write(parts, path, overwrite=True)
    with pytest.raises(IntegrityError) as caught:
        VERIFY(path)
    return caught.value.message


@QUICK
@given(data=st.data())
def test_flipped_bits_of_a_part_are_named(parts: Parts, folder: Path, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(parts) - 1))
    name, content = parts[place]
    flipped = bytearray(content)
    for position in data.draw(st.sets(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        flipped[position] ^= data.draw(st.integers(1, 255))
    message = refused([*parts[:place], (name, bytes(flipped)), *parts[place + 1 :]], folder)
    # A chain that reads but says other things is told by the part it contradicts.
    assert name in message or (name == CHAIN and any(n in message for n, _ in parts))


@QUICK
@given(data=st.data())
def test_flipped_bits_of_the_file_are_noticed(
    parts: Parts, folder: Path, data: st.DataObject
) -> None:
    path = folder / "flipped.zip"
    BUNDLES.write(parts, path, overwrite=True)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(IntegrityError):
        VERIFY(path)


@QUICK
@given(order=st.data())
def test_parts_in_another_order_are_noticed(
    parts: Parts, folder: Path, order: st.DataObject
) -> None:
    moved = order.draw(st.permutations(parts).filter(lambda found: found != parts))
    assert "stands where" in refused(moved, folder)


@QUICK
@given(data=st.data())
def test_removed_and_added_parts_are_named(parts: Parts, folder: Path, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(parts)))
    name = data.draw(st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8})?\.json", fullmatch=True))
    if name not in dict(parts):
        added = [*parts[:place], (name, data.draw(st.binary(max_size=50))), *parts[place:]]
        assert name in refused(added, folder)
    if place < len(parts):
        assert parts[place][0] in refused([*parts[:place], *parts[place + 1 :]], folder)


def test_signature_and_chain_of_another_bundle_do_not_fit(parts: Parts, folder: Path) -> None:
    other = sealed(parts[:-3], Ed25519Signer(folder / "key.pem", create=False))
    for name in (CHAIN, SIGNATURE):
        mixed = [(n, dict(other)[n] if n == name else c) for n, c in parts]
        assert refused(mixed, folder)
