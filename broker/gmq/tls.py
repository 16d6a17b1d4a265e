"""TLS as the broker speaks it to its clients: which files, and what is accepted."""

from __future__ import annotations

import ssl

from msgspec import Struct

from gmq.validate import LONGEST_PATH, quote

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption only. TLS 1.3 has no others."""


class TlsError(Exception):
    """The files cannot be used; the text begins with the name of the setting at fault."""


class ServerTls(Struct, frozen=True):
    """The files of the broker's certificate and key (which may be one), and of the authority that signs its clients' certificates."""

    certificate: str
    key: str = ""
    client_ca: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """All that are named."""
        return tuple(file for file in (self.certificate, self.key, self.client_ca) if file)

    def context(self) -> ssl.SSLContext:
        """A context made of what the files hold now: TLS 1.2 or newer, with a client's certificate where there is an authority for them.

        With one it is TLS 1.3 alone, where sessions are not resumed: a client whose certificate is no longer accepted must not come in
        with an old one. The cache of sessions of TLS 1.2 belongs to the listener's first context, whatever the files say later, and
        Python cannot switch it off.

        Raises:
            TlsError: a file cannot be read or is not what it should be.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
        context.num_tickets = 0
        self._load_certificate(context)
        if self.client_ca:
            self._load_authority(context)
        return context

    def _load_certificate(self, context: ssl.SSLContext) -> None:
        _readable("tls.certificate", self.certificate)
        if self.key:
            _readable("tls.key", self.key)
        try:
            context.load_cert_chain(self.certificate, self.key or None, _no_passphrase)
        except _PassphraseError:
            raise TlsError(f"tls.key is {_path(self.key or self.certificate)}; that key has a passphrase, and must have none") from None
        except ssl.SSLError as error:
            key = f"with tls.key {_path(self.key)} " if self.key else ""
            raise TlsError(
                f"tls.certificate is {_path(self.certificate)}; {key}it is no certificate in PEM with its key: {reason(error)}"
            ) from error
        except OSError as error:  # one of them is gone since
            raise TlsError(f"tls.certificate is {_path(self.certificate)}; it, or its key, cannot be read: {error.strerror}") from error

    def _load_authority(self, context: ssl.SSLContext) -> None:
        _readable("tls.client_ca", self.client_ca)
        try:
            context.load_verify_locations(self.client_ca)
        except ssl.SSLError as error:
            raise TlsError(f"tls.client_ca is {_path(self.client_ca)}; that file has no certificate in PEM: {reason(error)}") from error
        except OSError as error:  # it is gone since
            raise TlsError(f"tls.client_ca is {_path(self.client_ca)}; it cannot be read: {error.strerror}") from error
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_3


class _PassphraseError(Exception):
    """Asked for a passphrase."""


def _no_passphrase() -> str:
    raise _PassphraseError


def _readable(setting: str, file: str) -> None:
    try:
        with open(file, "rb"):  # noqa: PTH123  # a path as it stands in the configuration, which may have a NUL
            pass
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise TlsError(f"{setting} is {_path(file)}; it cannot be read: {why}") from error


def _path(file: str) -> str:
    return quote(file, LONGEST_PATH)


def reason(error: ssl.SSLError) -> str:
    """What OpenSSL says, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message)
    return (error.reason or str(error)).replace("_", " ").lower()


def identity(certificate: dict[str, object] | None) -> str | None:
    """The common name in a client's certificate, as `ssl.SSLObject.getpeercert` gives it; None without one."""
    subject = (certificate or {}).get("subject", ())
    if not isinstance(subject, tuple):
        return None
    return next((str(value) for names in subject for name, value in names if name == "commonName"), None)
