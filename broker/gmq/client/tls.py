"""TLS as clients speak it."""

from __future__ import annotations

import ssl
from pathlib import Path

from msgspec import Struct


class Tls(Struct, frozen=True):
    """How to trust a broker, and how to be trusted by it.

    - `ca`: a file with the authorities to trust instead of the system's.
    - `certificate`, `key`: files with the client's own certificate and key, for brokers that ask for one; they may be one file.
    - `server_name`: the name that the broker's certificate must have, instead of the host that is connected to.
    - `verify`: False trusts anybody, which is no protection against who can change the traffic.
    """

    ca: Path | str | None = None
    certificate: Path | str | None = None
    key: Path | str | None = None
    server_name: str | None = None
    verify: bool = True

    def context(self) -> ssl.SSLContext:
        """A context made of what the files hold now.

        Raises:
            OSError: one of them cannot be read, or (ssl.SSLError) is not what it should be.
        """
        for file in (self.ca, self.certificate, self.key):
            if file is not None:
                Path(file).open("rb").close()  # the error has the file's name, which that of OpenSSL has not
        context = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate is not None:
            context.load_cert_chain(str(self.certificate), None if self.key is None else str(self.key), password=lambda: "")
        return context
