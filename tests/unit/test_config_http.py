"""Where HTTP is served, by the configuration."""

from __future__ import annotations

import pytest
from refusals import config, problem


def test_without_a_section_http_is_on_loopback_whatever_the_network_says():
    loaded = config({"network": {"interface": ""}, "auth": {"anonymous": True}})
    assert (loaded.http.interface, loaded.http.port) == ("localhost", 8080)
    assert not loaded.http_asked
    assert loaded.ops is None


def test_with_a_section_http_is_where_the_network_is_unless_it_says_where():
    access = {"network": {"interface": ""}, "auth": {"anonymous": True}}
    assert config({**access, "http": {}}).http.interface == ""
    assert config({**access, "http": {"interface": "127.0.0.1"}}).http.interface == "127.0.0.1"
    assert config({"http": {"enabled": False}}).http is None


def test_port_in_the_environment_outranks_the_file():
    loaded = config({"http": {"port": 81}}, {"PORT": "82"})
    assert loaded.http.port == 82
    assert config({}, {"PORT": "82"}).http_asked, "who sets PORT wants HTTP"
    assert config({}, {"PORT": ""}).http.port == 8080
    assert problem({}, {"PORT": "http"}) == 'PORT is "http"; it must be 0 to 65535, as a number or in digits'


@pytest.mark.parametrize("port", ["", "x", "65536", "-1"])
def test_a_port_that_is_none_is_refused(port):
    assert problem({"http": {"port": port}}).startswith("http.port is")
    assert problem({"ops": {"port": port, "enabled": True}}).startswith("ops.port is")


def test_two_listeners_with_one_port_are_refused():
    said = problem({"network": {"port": 4567}, "http": {"port": "4567"}})
    assert said == "http.port is 4567, and so is network.port; each listener needs a port of its own"


def test_http_beyond_loopback_needs_authentication_or_consent():
    said = problem({"http": {"interface": "0.0.0.0"}})
    assert said.startswith('http.interface is "0.0.0.0", beyond loopback'), said
    assert config({"http": {"interface": "0.0.0.0"}, "auth": {"anonymous": True}}).http.interface == "0.0.0.0"
