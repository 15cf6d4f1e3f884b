"""Is what was kept what is found? A checksum over the bytes and over what they are kept as."""

from __future__ import annotations

import hashlib


def checksum(about: str, data: bytes) -> str:
    """Return the sha256 of some bytes together with what they are kept as: bytes of another key do not pass as these.

    Args:
        about: kind and key of what is kept.
        data: the bytes.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256(hashlib.sha256(about.encode()).digest())
    digest.update(data)
    return digest.hexdigest()
