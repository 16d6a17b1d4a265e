"""Who may use the broker."""

import hmac
from binascii import Error, unhexlify
from hashlib import sha512

_DIGEST_OF_NOTHING = sha512().digest()
_DIGEST_DIGITS = 2 * len(_DIGEST_OF_NOTHING)


def reduce_token(value: str) -> str:
    """The value inside a token of the original client; any other value as it is.

    Such a token is the hexadecimal form, in any case of letters, of the value's bytes and the SHA-512 of the empty string.
    """
    if len(value) < _DIGEST_DIGITS:
        return value
    try:
        token = unhexlify(value)
        if token.endswith(_DIGEST_OF_NOTHING):
            return token[: -len(_DIGEST_OF_NOTHING)].decode()
    except (Error, ValueError):  # not hexadecimal, not ASCII, or not UTF-8: a plain value
        return value
    return value


class Authenticator:
    """Checks users and passwords against the configured ones; without any, everybody is let in."""

    def __init__(self, credentials: tuple[str, str] | None) -> None:
        self.required = credentials is not None
        user, password = credentials or ("", "")
        self._user, self._password = _to_bytes(user), _to_bytes(password)

    def accepts(self, user: str, password: str) -> bool:
        """Whether these are the configured ones, plain or as tokens. The time it takes does not tell how much of them was right."""
        user_is_right = hmac.compare_digest(_to_bytes(reduce_token(user)), self._user)
        password_is_right = hmac.compare_digest(_to_bytes(reduce_token(password)), self._password)
        return not self.required or (user_is_right & password_is_right)


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # a lone surrogate is wrong, not an error
