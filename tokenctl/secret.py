"""A secret that cannot be printed by accident."""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """Holds secret text or bytes; masked by ``repr``, ``str`` and ``format``, opened only by :meth:`reveal`.

    Not a ``str``, so nothing joins, logs or serialises it by mistake; it refuses pickling and copying.
    """

    __slots__ = ("__value",)

    def __init__(self, value: bytes | str) -> None:
        self.__value = value.encode() if isinstance(value, str) else bytes(value)

    def reveal(self) -> bytes:
        """Return the secret itself."""
        return self.__value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self.__value, other.reveal())

    __hash__ = None  # type: ignore[assignment]  # a secret is no dictionary key

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret is not serialised")

    def __copy__(self) -> NoReturn:
        raise TypeError("a secret is not copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("a secret is not copied")
