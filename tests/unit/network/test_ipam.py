from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.errors import InvalidInput, Unavailable
from jupyter_containers.network.ipam import POOL, allocate, choose_subnet, gateway, mac_of

SUBNET = IPv4Network("10.88.0.0/29")


def test_the_first_subnet_without_a_route_is_chosen() -> None:
    default = IPv4Network("0.0.0.0/0")
    assert choose_subnet([default]) == IPv4Network("10.88.0.0/24")
    taken = [default, IPv4Network("10.88.0.0/24"), IPv4Network("10.88.1.128/25"), IPv4Network("192.0.2.0/24")]
    assert choose_subnet(taken) == IPv4Network("10.88.2.0/24")


def test_a_route_that_covers_the_pool_leaves_nothing() -> None:
    with pytest.raises(Unavailable, match=r"10\.88\.0\.0/14"):
        choose_subnet([IPv4Network("10.0.0.0/8")])


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(15, 32)), max_size=30))
def test_a_chosen_subnet_overlaps_with_nothing(routes: list[tuple[int, int]]) -> None:
    taken = [IPv4Network((number, prefix), strict=False) for number, prefix in routes]
    subnet = choose_subnet(taken)
    assert subnet.subnet_of(POOL)
    assert not any(subnet.overlaps(network) for network in taken)


def test_addresses_are_given_in_order_until_there_are_none() -> None:
    used: list[str] = []
    for _ in range(5):
        used.append(allocate(SUBNET, used))
    assert used == [f"10.88.0.{last}" for last in range(2, 7)]
    assert gateway(SUBNET) == "10.88.0.1"
    with pytest.raises(Unavailable, match="all addresses"):
        allocate(SUBNET, used)
    used.remove("10.88.0.4")
    assert allocate(SUBNET, used) == "10.88.0.4"


def test_an_address_can_be_asked_for() -> None:
    assert allocate(SUBNET, [], wanted="10.88.0.6") == "10.88.0.6"
    with pytest.raises(Unavailable, match="belongs to another"):
        allocate(SUBNET, ["10.88.0.6"], wanted="10.88.0.6")
    for wrong in ("10.88.0.0", "10.88.0.1", "10.88.0.7", "10.89.0.2", "fd00::1", "nonsense"):
        with pytest.raises(InvalidInput, match=wrong):
            allocate(SUBNET, [], wanted=wrong)


@given(st.sets(st.integers(2, 6).map(lambda last: f"10.88.0.{last}"), max_size=4))
def test_what_is_allocated_was_free(used: set[str]) -> None:
    address = allocate(SUBNET, used)
    assert address not in used
    assert IPv4Address(address) in SUBNET


def test_hardware_addresses_are_local_unicast_and_differ() -> None:
    assert mac_of("10.88.0.2") == "0a:63:0a:58:00:02"
    first = int(mac_of("10.88.0.2").split(":")[0], 16)
    assert first & 2
    assert not first & 1
    assert mac_of("10.88.0.2") != mac_of("10.88.0.3")
