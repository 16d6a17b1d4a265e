"""TLS as an outside scanner sees it: sslyze, which `make scan` installs in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from broker_process import Broker
from certificates import Authority

SSLYZE = Path(os.environ.get("GMQ_TEST_SSLYZE", Path(__file__).parents[2] / ".tools/scanner/bin/sslyze"))
OLD = ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1")
SCANS = (
    "certinfo", "sslv2", "sslv3", "tlsv1", "tlsv1_1", "tlsv1_2", "tlsv1_3", "compression", "heartbleed", "openssl_ccs", "robot", "reneg",
    "fallback", "elliptic_curves", "early_data", "resum", "ems",
)  # fmt: skip


@pytest.mark.skipif(not SSLYZE.exists(), reason="sslyze is not installed: `make scan` installs it")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("client_ca", [False, True], ids=["plain", "with clients' certificates"])
def test_the_scanner_finds_nothing_weak(start_broker: Callable[..., Broker], tmp_path: Path, client_ca: bool) -> None:  # noqa: FBT001  # a parameter of pytest
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.sign("broker", "127.0.0.1")
    tls = {"certificate": str(certificate), "key": str(key)} | ({"client_ca": str(authority.file)} if client_ca else {})
    broker = start_broker({"tls": tls, "storage": {"type": "memory"}})
    mine = authority.sign("client")
    found = scan([broker.address, broker.http], tmp_path, authority, mine if client_ca else None)
    assert len(found) == 2, "the scanner could not reach both listeners"
    for address, results in found.items():
        check(address, results, client_ca=client_ca)


def scan(addresses: list[str], folder: Path, authority: Authority, mine: tuple[Path, Path] | None) -> dict[str, Any]:
    """What sslyze found at each address."""
    report = folder / "report.json"
    identity = [] if mine is None else ["--cert", mine[0], "--key", mine[1]]
    command = [
        SSLYZE, "--quiet", "--mozilla_config=disable", f"--json_out={report}", f"--certinfo_ca_file={authority.file}", *identity,
        *(f"--{name}" for name in SCANS), *addresses,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert report.exists(), f"sslyze made no report: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    results = json.loads(report.read_text())["server_scan_results"]
    for result in results:
        assert result["scan_status"] == "COMPLETED", result["connectivity_error_trace"]
    return {f"{result['server_location']['ip_address']}:{result['server_location']['port']}": result["scan_result"] for result in results}


def check(address: str, results: dict[str, Any], *, client_ca: bool) -> None:
    """Only what is sound today, and no known hole. `client_ca` tells whether clients have to show certificates."""
    found = {name: scan["result"] for name, scan in results.items() if scan["status"] != "NOT_SCHEDULED"}
    failed = {name for name, result in found.items() if result is None}
    assert failed <= {"tls_1_3_early_data"}, f"{address}: scans failed"  # which fails where the broker hangs up
    for version in (*OLD, *(["tls_1_2"] if client_ca else [])):
        assert not found[f"{version}_cipher_suites"]["is_tls_version_supported"], f"{address} speaks {version}"
    assert found["tls_1_3_cipher_suites"]["is_tls_version_supported"], f"{address} does not speak TLS 1.3"
    suites = [suite for version in ("tls_1_2", "tls_1_3") for suite in found[f"{version}_cipher_suites"]["accepted_cipher_suites"]]
    for suite in suites:
        name = suite["cipher_suite"]["name"]
        assert not suite["cipher_suite"]["is_anonymous"], f"{address} accepts {name}"
        assert name.endswith(("_GCM_SHA256", "_GCM_SHA384", "_CHACHA20_POLY1305_SHA256")), f"{address} accepts {name}"
        assert suite["ephemeral_key"], f"{address} accepts {name}, without forward secrecy"
    curves = {curve["name"] for curve in found["elliptic_curves"]["supported_curves"]}
    assert curves <= {"X25519", "X448", "secp256r1", "secp384r1", "secp521r1"}, f"{address} accepts the curves {curves}"
    trust = found["certificate_info"]["certificate_deployments"][0]["path_validation_results"]
    assert any(path["was_validation_successful"] for path in trust), f"{address} shows a certificate that its authority did not sign"
    renegotiation = found["session_renegotiation"]
    assert renegotiation["supports_secure_renegotiation"] or client_ca, f"{address} renegotiates insecurely"
    for what, holds in {
        "compression": found["tls_compression"]["supports_compression"],
        "early data": (found["tls_1_3_early_data"] or {}).get("supports_early_data"),
        "CCS injection": found["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"],
        "Heartbleed": found["heartbleed"]["is_vulnerable_to_heartbleed"],
        "ROBOT": not found["robot"]["robot_result"].startswith("NOT_VULNERABLE"),
        "renegotiation by the client": renegotiation["is_vulnerable_to_client_renegotiation_dos"],
        "tickets": found["session_resumption"]["tls_ticket_resumption_result"].endswith("Y_SUPPORTED"),
    }.items():
        assert not holds, f"{address}: {what}"
