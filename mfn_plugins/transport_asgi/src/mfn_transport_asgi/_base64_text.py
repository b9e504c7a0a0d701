"""A byte stream as base64 text: pieces of any size, each of which may have been padded by itself."""

from __future__ import annotations

import binascii

from mfn_core.errors import Code, MfnError

__all__ = ["TextDecoder", "encode_text"]

QUANTUM = 4
"""Characters that stand for three bytes, or for fewer where the last ones are padding."""


class TextDecoder:
    """Decodes text that arrives in chunks. A sender may pad wherever it flushes, so that padding stands within the
    text as well as at its end. Holds less than one quantum."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        """Begin with nothing."""
        self._rest = b""

    def decode(self, chunk: bytes, *, final: bool) -> bytes:
        """The bytes of all quanta that are whole; `final` says that no further chunk comes.

        Raises:
            MfnError: INVALID_ARGUMENT: it is not base64, or ends within a quantum.
        """
        text = self._rest + chunk
        usable = len(text) // QUANTUM * QUANTUM
        self._rest = text[usable:]
        if final and self._rest:
            raise _malformed(f"it ends {len(self._rest)} characters into a quantum of {QUANTUM}")
        parts: list[bytes] = []
        begin = 0
        try:
            while begin < usable:
                padding = text.find(b"=", begin, usable)
                end = usable if padding < 0 else (padding // QUANTUM + 1) * QUANTUM
                parts.append(binascii.a2b_base64(text[begin:end], strict_mode=True))
                begin = end
        except binascii.Error as wrong:
            raise _malformed(str(wrong)) from wrong
        return b"".join(parts)


def encode_text(body: bytes) -> bytes:
    """The bytes as base64, padded by themselves."""
    return binascii.b2a_base64(body, newline=False)


def _malformed(why: str) -> MfnError:
    return MfnError(
        Code.INVALID_ARGUMENT,
        "the request is not valid base64, as its content type application/grpc-web-text promises",
        reason=why,
    )
