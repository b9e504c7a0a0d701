"""Request signing scheme v2 of MFN as pure functions without dependencies.

A client makes `Credentials` and asks `sign_headers` for the headers of each request, with a nonce of its one
`WindowedNonceSource`. A server loads `Key` values with `load_keys`, checks requests with `verify_signature`,
and remembers nonces, windowed ones in a `ReplayWindow` for each key and instance.
"""

from mfn_signing._errors import InvalidKeyError, KeysFileError, MalformedError
from mfn_signing._headers import Credentials, sign_headers
from mfn_signing._keys import ACTIVE, REVOKED, ROLES, STATUSES, Key, generate_key
from mfn_signing._keys_file import MAX_KEYS_FILE_BYTES, append_key, edit_keys_file, load_keys, write_keys_file
from mfn_signing._keys_toml import format_key, parse_keys
from mfn_signing._nonce import (
    MAX_COUNTER,
    RandomNonce,
    WindowedNonce,
    WindowedNonceSource,
    new_random_nonce,
    parse_nonce,
)
from mfn_signing._replay import REPLAY_WINDOW_SIZE, ReplayWindow
from mfn_signing._scheme import (
    CONTENT_SHA256_HEADER,
    HEADERS,
    KEY_ID_HEADER,
    NONCE_HEADER,
    SCHEME,
    SIGNATURE_HEADER,
    STREAM,
    TIMESTAMP_HEADER,
    TIMESTAMP_WINDOW_SECONDS,
    content_hash,
    http_path,
    parse_timestamp,
    signature,
    string_to_sign,
    verify_signature,
)
from mfn_signing._secret import MAX_SECRET_BYTES, MIN_SECRET_BYTES, decode_secret, encode_secret

__all__ = [
    "ACTIVE",
    "CONTENT_SHA256_HEADER",
    "HEADERS",
    "KEY_ID_HEADER",
    "MAX_COUNTER",
    "MAX_KEYS_FILE_BYTES",
    "MAX_SECRET_BYTES",
    "MIN_SECRET_BYTES",
    "NONCE_HEADER",
    "REPLAY_WINDOW_SIZE",
    "REVOKED",
    "ROLES",
    "SCHEME",
    "SIGNATURE_HEADER",
    "STATUSES",
    "STREAM",
    "TIMESTAMP_HEADER",
    "TIMESTAMP_WINDOW_SECONDS",
    "Credentials",
    "InvalidKeyError",
    "Key",
    "KeysFileError",
    "MalformedError",
    "RandomNonce",
    "ReplayWindow",
    "WindowedNonce",
    "WindowedNonceSource",
    "append_key",
    "content_hash",
    "decode_secret",
    "edit_keys_file",
    "encode_secret",
    "format_key",
    "generate_key",
    "http_path",
    "load_keys",
    "new_random_nonce",
    "parse_keys",
    "parse_nonce",
    "parse_timestamp",
    "sign_headers",
    "signature",
    "string_to_sign",
    "verify_signature",
    "write_keys_file",
]
