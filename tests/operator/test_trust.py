"""The API server's certificate is checked as kubectl checks it, whatever Python's own habit is."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path

import kopf
import pytest
import yaml
from kubernetes.client import Configuration

from certificates import Authority
from gmq_operator import trust
from gmq_operator.cluster import connect


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contexts as Python 3.13 makes them."""
    plain = ssl.create_default_context

    def make(*arguments: object, **named: object) -> ssl.SSLContext:
        context = plain(*arguments, **named)  # type: ignore[arg-type]  # whatever it was given
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", make)


def kubeconfig(folder: Path) -> Path:
    data = base64.b64encode(Authority(folder).file.read_bytes()).decode()
    file = folder / "config"
    parts = {
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1", "certificate-authority-data": data}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }
    file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "x", **parts}))
    return file


def test_the_watch_is_no_stricter_than_kubectl_and_still_checks(strict: None, tmp_path: Path) -> None:
    context = trust.Connection(server="https://127.0.0.1:1", ca_path=str(Authority(tmp_path).file)).as_ssl_context()
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert isinstance(trust.Connection(server="x"), kopf.ConnectionInfo)


def test_requests_are_no_stricter_than_kubectl_and_still_check(strict: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig(tmp_path)))
    context = connect().rest_client.pool_manager.connection_pool_kw["ssl_context"]
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


def test_what_a_kubeconfig_does_not_want_checked_is_not_checked() -> None:
    configuration = Configuration()
    configuration.verify_ssl = False
    assert not trust.context_of(configuration).check_hostname
