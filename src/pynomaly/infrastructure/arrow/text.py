"""Bytes to UTF-8: tells the encoding from the head of a file and names what cannot be decoded."""

from __future__ import annotations

import codecs
import io
import re
from typing import Any, BinaryIO

from pynomaly.domain.errors import ConfigurationError, MalformedSourceError

__all__ = ["HEAD_BYTES", "Utf8Stream", "decode_head", "tell_encoding"]

HEAD_BYTES = 256 * 2**10
"""How much of a file is looked at to tell its encoding and delimiter."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def tell_encoding(head: bytes, declared: str | None, uri: str) -> str:
    """Return the encoding of a text file.

    Told apart without being declared: UTF-8, UTF-16 and UTF-32 (by byte order mark; UTF-16 also
    by its zero bytes), and Western European (cp1252, of which latin-1 is a part).  Any other has
    to be declared: guessing among legacy encodings goes wrong silently.

    Args:
        head: First bytes.
        declared: By the user.
        uri: For messages.

    Raises:
        ConfigurationError: The declared encoding does not exist.
        MalformedSourceError: No text, or an encoding that has to be declared.
    """
    for bom, name in _BOMS:
        if head.startswith(bom) and (declared is None or _same(declared, name)):
            return name
    if declared is not None:
        try:
            codecs.lookup(declared)
        except LookupError:
            raise ConfigurationError(
                f"unknown encoding {declared!r} for {uri}",
                hint="use a name Python knows, e.g. utf-8, cp1252, utf-16",
            ) from None
        return declared
    if b"\0" in head:
        return _utf16_or_binary(head, uri)
    lenient = head.decode("utf-8", "surrogateescape")
    # A character cut by the end of the head leaves up to three stray bytes.
    cut = len(lenient) - 3 if len(head) >= HEAD_BYTES else len(lenient)
    strays = len(re.findall("[\udc80-\udcff]", lenient[:cut]))
    whole = len(re.findall("[\u0080-\ud7ff\ue000-\U0010ffff]", lenient))
    if strays == 0 or whole > strays:
        return "utf-8"  # more whole characters than strays is UTF-8 with a few bad bytes
    # Western text has single accented letters among plain ones; long runs are another script.
    if not re.search(rb"[\x80-\xff]{3}", head) and _decodes(head, "cp1252"):
        return "cp1252"
    raise _must_declare(head, uri)


def decode_head(head: bytes, encoding: str, uri: str) -> str:
    """Decode the first bytes of a file, leaving out a character cut by their end."""
    return _Decoder(encoding, uri).decode(head, final=len(head) < HEAD_BYTES)


class Utf8Stream(io.RawIOBase):
    """Reads a text file of any encoding as UTF-8.

    Args:
        head: Bytes that were read from ``rest`` already.
        rest: What follows them.
        encoding: Of both.
        uri: For messages.

    Raises:
        MalformedSourceError: When reading meets bytes that are no text in ``encoding``.
    """

    def __init__(self, head: bytes, rest: BinaryIO, encoding: str, uri: str) -> None:
        self._head = head
        self._rest = rest
        self._decoder = _Decoder(encoding, uri)
        self._ready = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` as far as possible; 0 at the end."""
        while not self._ready and not self._ended:
            data = self._head or self._rest.read(HEAD_BYTES)
            self._head = b""
            self._ended = not data
            self._ready = memoryview(self._decoder.decode(data, final=self._ended).encode())
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size


class _Decoder:
    def __init__(self, encoding: str, uri: str) -> None:
        self._encoding = encoding
        self._uri = uri
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._bytes = 0
        self._lines = 0

    def decode(self, data: bytes, *, final: bool) -> str:
        try:
            text = self._decoder.decode(data, final)
        except UnicodeDecodeError as error:
            # The object of the error starts with what the decoder kept from the last piece.
            start = self._bytes - (len(error.object) - len(data)) + error.start
            before = error.object[: error.start].decode(self._encoding, "replace")
            bad = error.object[error.start : error.end][:4].hex(" ")
            raise MalformedSourceError(
                f"{self._uri}: byte {start + 1}, line {self._lines + before.count(chr(10)) + 1}: "
                f"bytes {bad} are no {self._encoding} text",
                hint="save the file as UTF-8, or set `encoding:` of a pipeline's source (e.g. cp1252)",
            ) from error
        self._bytes += len(data)
        self._lines += text.count("\n")
        return text


def _utf16_or_binary(head: bytes, uri: str) -> str:
    half = max(len(head) // 2, 1)
    for name, zeros, others in (
        ("utf-16-le", head[1::2].count(0), head[0::2].count(0)),
        ("utf-16-be", head[0::2].count(0), head[1::2].count(0)),
    ):
        if zeros > 0.5 * half and others == 0:
            return name
    raise MalformedSourceError(
        f"{uri} is no text: it holds zero bytes",
        hint="if its name is misleading set `format:` of a pipeline's source, or its `encoding:`",
    )


def _must_declare(head: bytes, uri: str) -> MalformedSourceError:
    from charset_normalizer import from_bytes

    position = next(i for i, byte in enumerate(head) if byte > 127)
    guess = from_bytes(head).best()
    # Without a language it recognises, the guess is as good as any other.
    known = guess is not None and guess.coherence > 0
    example = f"`encoding: {guess.encoding}` may fit" if guess and known else "e.g. cp1251, cp932"
    return MalformedSourceError(
        f"{uri}: byte {position + 1}, line {head.count(bytes([10]), 0, position) + 1}: "
        f"bytes {head[position : position + 4].hex(' ')} are no UTF-8 text",
        hint=f"save the file as UTF-8, or set `encoding:` of a pipeline's source ({example})",
    )


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _same(declared: str, detected: str) -> bool:
    return detected == "utf-8-sig" and declared.lower().replace("_", "-") in ("utf-8", "utf8")
