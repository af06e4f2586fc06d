from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.errors import InvalidInput
from jupyter_containers.linux.capabilities import (
    DOCKER_DEFAULT,
    NAMES,
    NUMBERS,
    known_here,
    last_cap,
    normalize,
    numbers_of,
    parse_add_drop,
)

HEADER = Path("/usr/include/linux/capability.h")


@pytest.mark.skipif(not HEADER.exists(), reason="the kernel's headers are not installed")
def test_the_table_is_that_of_the_kernel() -> None:
    defined = re.findall(r"#define (CAP_[A-Z_]+)\s+(\d+)$", HEADER.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name: int(number) for name, number in defined}.items() <= NUMBERS.items()


def test_docker_gives_fourteen() -> None:
    assert len(DOCKER_DEFAULT) == 14
    assert set(DOCKER_DEFAULT) <= set(NAMES)
    assert set(parse_add_drop([], [])) == set(DOCKER_DEFAULT)


def test_names_are_taken_in_any_form() -> None:
    assert normalize("net_admin") == normalize("CAP_NET_ADMIN") == normalize(" Cap_Net_Admin ") == "CAP_NET_ADMIN"
    assert "CAP_NET_ADMIN" in parse_add_drop(["net_admin"], [])
    assert "CAP_CHOWN" not in parse_add_drop([], ["chown"])


def test_all_means_all_this_kernel_knows_and_a_name_wins_over_it() -> None:
    assert parse_add_drop(["all"], []) == list(known_here())
    assert parse_add_drop([], ["ALL"]) == []
    assert parse_add_drop(["CHOWN"], ["ALL"]) == ["CAP_CHOWN"]
    assert set(known_here()) - set(parse_add_drop(["ALL"], ["SYS_ADMIN"])) == {"CAP_SYS_ADMIN"}
    assert parse_add_drop(["ALL", "CHOWN"], ["ALL"]) == ["CAP_CHOWN"]


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(InvalidInput, match="'SYS_ADMN'") as caught:
        parse_add_drop(["SYS_ADMN"], [])
    assert caught.value.hint == "Did you mean SYS_ADMIN?"
    with pytest.raises(InvalidInput, match="''"):
        parse_add_drop([], [""])


def test_numbers() -> None:
    assert numbers_of(["CAP_SYS_ADMIN", "CAP_CHOWN"]) == [0, 21]
    assert 37 <= last_cap() < 64


SOME = st.lists(st.sampled_from(NAMES), max_size=6)


@given(SOME, SOME)
def test_what_is_dropped_is_gone_and_what_is_added_is_there(add: list[str], drop: list[str]) -> None:
    chosen = parse_add_drop(add, drop)
    assert not set(chosen) & set(drop)
    assert set(add) - set(drop) <= set(chosen)
    assert chosen == sorted(chosen, key=NAMES.index)
