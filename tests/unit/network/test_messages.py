from __future__ import annotations

import struct
import warnings
from typing import Any

import pytest

from jupyter_containers.linux.netlink import patch
from jupyter_containers.network import messages


def decoded(kind: str, data: bytes) -> Any:
    """A message as pyroute2 reads it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
        from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
        from pyroute2.netlink.rtnl.rtmsg import rtmsg
    message = {"link": ifinfmsg, "address": ifaddrmsg, "route": rtmsg}[kind](data)
    message.decode()
    assert message["header"]["length"] == len(data)
    return message


def test_a_pair_of_interfaces_reads_as_meant() -> None:
    data, offset = messages.veth(("jcv1", 20_000_000), 7, ("eth0", 1000), "0a:63:0a:58:00:02", 1450)
    message = decoded("link", patch(data, offset, 4711))
    assert (message["header"]["type"], message["index"], message["flags"]) == (16, 20_000_000, 1)
    assert message.get_attr("IFLA_IFNAME") == "jcv1"
    assert message.get_attr("IFLA_MASTER") == 7
    assert message.get_attr("IFLA_MTU") == 1450
    info = message.get_attr("IFLA_LINKINFO")
    assert info.get_attr("IFLA_INFO_KIND") == "veth"
    peer = info.get_attr("IFLA_INFO_DATA").get_attr("VETH_INFO_PEER")
    assert peer["index"] == 1000
    assert peer.get_attr("IFLA_IFNAME") == "eth0"
    assert peer.get_attr("IFLA_ADDRESS") == "0a:63:0a:58:00:02"
    assert peer.get_attr("IFLA_NET_NS_PID") == 4711


def test_the_offset_is_that_of_the_placeholder() -> None:
    data, offset = messages.veth(("jcv1", 1 << 24), 7, ("eth0", 1000), "0a:63:0a:58:00:02")
    assert struct.unpack_from("=I", data, offset) == (messages.PLACEHOLDER,)
    assert decoded("link", data).get_attr("IFLA_MTU") is None


def test_an_address_and_a_route_read_as_meant() -> None:
    address = decoded("address", messages.address(1000, "10.88.0.130", 25))
    assert (address["index"], address["prefixlen"], address["family"]) == (1000, 25, 2)
    assert address.get_attr("IFA_LOCAL") == address.get_attr("IFA_ADDRESS") == "10.88.0.130"
    assert address.get_attr("IFA_BROADCAST") == "10.88.0.255"
    route = decoded("route", messages.default_route("10.88.0.1"))
    assert (route["dst_len"], route["table"], route.get_attr("RTA_GATEWAY")) == (0, 254, "10.88.0.1")


@pytest.mark.parametrize("length", range(6))
def test_attributes_are_padded(length: int) -> None:
    data = messages.attribute(3, bytes(length))
    assert len(data) % 4 == 0
    assert struct.unpack_from("=HH", data) == (4 + length, 3)
