"""Where the broker listens."""

import json
from socket import AddressFamily

import pytest
from refusals import config, problem


@pytest.mark.parametrize(
    ("port", "expected"), [("", 4884), ("4567", 4567), (4567, 4567), ("0", 0), (0, 0), ("65535", 65535), (65535, 65535)]
)
def test_a_port_is_a_number_or_digits_and_empty_means_the_originals(port, expected):
    assert config({"network": {"port": port}}).listen.port == expected


@pytest.mark.parametrize("port", ["65536", "-1", "http", " 1", "1 ", "1\n", "+1", "0x1", "1.0", "\u0661", "1_0", "9" * 5000])
def test_a_string_that_is_no_port_is_refused(port):
    assert problem({"network": {"port": port}}).endswith('; it must be 0 to 65535, as a number or in digits, or "" for 4884')


@pytest.mark.parametrize("interface", ["localhost", "LocalHost", "127.0.0.1", "127.255.0.9", "::1", "0:0:0:0:0:0:0:1"])
def test_loopback_needs_no_authentication(interface):
    assert config({"network": {"interface": interface}}).listen.loopback, f"{interface} is loopback"


@pytest.mark.parametrize(
    "interface",
    ["", "0.0.0.0", "::", "192.0.2.1", "128.0.0.1", "::ffff:127.0.0.1", "fe80::1%eth0", "broker.example", "localhost.example", "a_b-c.d."],
)
def test_listening_beyond_loopback_needs_authentication_or_consent(interface):
    network = {"interface": interface}
    said = problem({"network": network})
    assert said.startswith(f"network.interface is {json.dumps(interface)}"), said
    assert "beyond loopback" in said, said
    assert "auth.user" in said, f"the message must name the way of authentication: {said}"
    assert "auth.anonymous" in said, f"the message must name the way of consent: {said}"
    assert not config({"network": network, "auth": {"anonymous": True}}).users
    assert not config({"network": network}, {"GMQ_AUTH_ANONYMOUS": "true"}).users
    for kept in ("", "false"):
        assert "beyond loopback" in problem({"network": network}, {"GMQ_AUTH_ANONYMOUS": kept})
    assert config({"network": network, "auth": {"user": "a", "password": "b"}}).users


def test_consent_in_the_environment_is_one_of_two_words_and_not_in_the_file_as_well():
    said = problem({"network": {"interface": ""}}, {"GMQ_AUTH_ANONYMOUS": "yes"})
    assert said == 'GMQ_AUTH_ANONYMOUS is "yes"; it must be "true" or "false"'
    said = problem({"network": {"interface": ""}, "auth": {"anonymous": True}}, {"GMQ_AUTH_ANONYMOUS": "true"})
    assert said == "auth.anonymous and GMQ_AUTH_ANONYMOUS set the same; keep one of them"


@pytest.mark.parametrize(
    "interface",
    [
        "300.1.2.3",
        "1.2.3",
        "127.1",
        "1",
        "1.2.3.4.",
        "::g",
        "[::1]",
        "1.2.3.4:80",
        "a b",
        "-a",
        "a-",
        ".",
        "a..b",
        "ä",
        "a" * 64,
        "a.\n",
        "x." * 127 + "x",
    ],
)
def test_what_is_neither_an_address_nor_a_host_name_is_refused(interface):
    said = problem({"network": {"interface": interface}, "auth": {"anonymous": True}})
    assert said.endswith('; it must be an IP address, a host name, or "" for all addresses'), said


@pytest.mark.parametrize(
    ("protocol", "interface", "family"),
    [
        ("tcp", "127.0.0.1", AddressFamily.AF_UNSPEC),
        ("", "::1", AddressFamily.AF_UNSPEC),
        ("tcp4", "127.0.0.1", AddressFamily.AF_INET),
        ("tcp6", "::1", AddressFamily.AF_INET6),
        ("tcp6", "localhost", AddressFamily.AF_INET6),
    ],
)
def test_the_protocol_chooses_the_address_family(protocol, interface, family):
    assert config({"network": {"protocol": protocol, "interface": interface}}).listen.family == family


@pytest.mark.parametrize(("protocol", "interface", "kind"), [("tcp4", "::1", "IPv6"), ("tcp6", "127.0.0.1", "IPv4")])
def test_an_address_of_the_other_family_is_refused(protocol, interface, kind):
    expected = f'network.interface is "{interface}", an {kind} address, which network.protocol "{protocol}" excludes'
    assert problem({"network": {"protocol": protocol, "interface": interface}}) == expected
