"""How the API server's certificate is checked: by the authority of the cluster, and as kubectl checks it.

Python 3.13 keeps to RFC 5280 strictly by default, and so refuses authorities of real clusters for want of an extension that kubectl does
not ask for (https://docs.python.org/3/library/ssl.html#ssl.create_default_context).
"""

import dataclasses
import ssl
from typing import Any

import kopf
from kubernetes.client import Configuration


def as_kubectl(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same context, no stricter than kubectl. Signature, dates and host name are checked as before."""
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def context_of(configuration: Configuration) -> ssl.SSLContext:
    """A context for urllib3, which adds the authority and the client's certificate to it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not configuration.verify_ssl:
        context.check_hostname = False
    elif not configuration.ssl_ca_cert:
        context.load_default_certs()
    return as_kubectl(context)


class Connection(kopf.ConnectionInfo):
    """What kopf connects with."""

    def as_ssl_context(self) -> ssl.SSLContext:
        return as_kubectl(super().as_ssl_context())


def login(**arguments: Any) -> Connection | None:
    """Log kopf in with what the `kubernetes` package finds."""
    found = kopf.login_via_client(**arguments)
    if found is None:
        return None
    return Connection(**{field.name: getattr(found, field.name) for field in dataclasses.fields(found) if field.init})
