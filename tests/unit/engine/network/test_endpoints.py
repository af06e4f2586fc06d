from __future__ import annotations

from typing import Any

import pytest

from jupyter_containers.engine.network.endpoints import Endpoint, read
from jupyter_containers.engine.options import RunOptions
from jupyter_containers.errors import EngineError


def options(**keywords: Any) -> RunOptions:
    return RunOptions.of(keywords)


def test_without_a_network_it_is_the_default() -> None:
    assert read(options()) == [Endpoint(name="default")]


def test_the_options_beside_are_for_the_first_network() -> None:
    found = read(options(network=["a", "b"], ip="10.0.0.2", network_alias="db", mac_address="02:00:00:00:00:01"))
    assert found == [
        Endpoint(name="a", ip="10.0.0.2", aliases=("db",), mac_address="02:00:00:00:00:01"),
        Endpoint(name="b"),
    ]


def test_the_long_form_has_everything_of_one_network() -> None:
    text = "name=a,alias=x,alias=y,ip=10.0.0.2,ip6=fd00::2,mac-address=02:00:00:00:00:01,gw-priority=-1"
    assert read(options(network=text)) == [
        Endpoint(
            name="a",
            aliases=("x", "y"),
            ip="10.0.0.2",
            ip6="fd00::2",
            mac_address="02:00:00:00:00:01",
            gw_priority=-1,
        )
    ]


@pytest.mark.parametrize(
    ("keywords", "why"),
    [
        ({"network": "alias=x"}, "name is missing"),
        ({"network": "name=a,driver-opt=x"}, "unknown field"),
        ({"network": "name=a,gw-priority=x"}, "no number"),
        ({"network": ""}, "empty"),
        ({"network": "name=a,ip=10.0.0.2", "ip": "10.0.0.3"}, "given twice"),
        ({"network": "a", "ip": "fd00::1"}, "no IPv4 address"),
        ({"network": "a", "ip6": "10.0.0.1"}, "no IPv6 address"),
        ({"network": "a", "mac_address": "02:00"}, "hardware address"),
        ({"network": "a", "mac_address": "00:00:00:00:00:00"}, "hardware address"),
        ({"network": "a", "network_alias": "a b"}, "invalid network alias"),
        ({"network": ["a", "none"]}, "cannot be combined"),
        ({"network": ["a", "container:b"]}, "cannot be combined"),
        ({"link": "db"}, "--link db is not supported"),
    ],
)
def test_what_cannot_be_is_refused_by_name(keywords: dict[str, Any], why: str) -> None:
    with pytest.raises(EngineError, match=why):
        read(options(**keywords))
