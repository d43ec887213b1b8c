"""Opaque cursors: where the next page of one certain list begins.

A cursor is its payload and a checksum over the list's name and the payload, so that one that
was made up, cut short, or taken from another list is told apart. The checksum is no secret: a
forged cursor reads nothing that its forger could not ask for openly.
"""

import base64
import binascii
import hashlib

import orjson
from pydantic import JsonValue

from models.domain.errors import CursorInvalid

# Counted up where a payload changes its meaning: older cursors are then refused, not misread.
_VERSION = b"gradbook cursor 1"
_CHECKSUM_BYTES = 9
_LONGEST = 8_192
_LARGEST = 2**63 - 1
_LARGEST_XID = 2**64 - 1


def list_name(*parts: object) -> str:
    """Name a list by everything that decides its order and content.

    A cursor is good for one such name only: its job, its order, its filters. What may differ
    from page to page (the limit, the format) is left out.
    """
    return orjson.dumps(parts, default=str, option=orjson.OPT_SORT_KEYS).decode()


def encode_cursor(kind: str, payload: JsonValue) -> str:
    """Write down where the list `kind` goes on.

    Args:
        kind: the list, as `list_name` names it.
        payload: the position, in JSON values; integers of at most 64 bits.

    """
    body = orjson.dumps(payload)
    return base64.urlsafe_b64encode(_checksum(kind, body) + body).rstrip(b"=").decode()


def decode_cursor(kind: str, text: str) -> JsonValue:
    """Read what `encode_cursor` wrote for the same list.

    Raises:
        CursorInvalid: it did not write this, or for another list.

    """
    raw = _unpacked(text)
    checksum, body = raw[:_CHECKSUM_BYTES], raw[_CHECKSUM_BYTES:]
    if checksum != _checksum(kind, body):
        raise CursorInvalid
    try:
        payload: JsonValue = orjson.loads(body)
    except orjson.JSONDecodeError:
        # Forged: the checksum is no secret.
        raise CursorInvalid from None
    return payload


def are_counts(*values: object) -> bool:
    """Whether these are counts, or numbers of rows, as the database can hold them."""
    return all(type(each) is int and 0 <= each <= _LARGEST for each in values)


def is_xid(text: str) -> bool:
    """Whether it is the number of a transaction, an xid8 in text."""
    digits = text.isascii() and text.isdecimal() and len(text) <= len(str(_LARGEST_XID))
    return digits and int(text) <= _LARGEST_XID


def _unpacked(text: str) -> bytes:
    if len(text) > _LONGEST:
        raise CursorInvalid
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise CursorInvalid from None
    # Base64 has several spellings of the same bytes; only ours counts.
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise CursorInvalid
    return raw


def _checksum(kind: str, body: bytes) -> bytes:
    name = hashlib.sha256(kind.encode()).digest()
    return hashlib.sha256(_VERSION + name + body).digest()[:_CHECKSUM_BYTES]
