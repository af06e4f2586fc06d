from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.network import dns
from jupyter_containers.network.resolver import Names


def query(name: str, kind: int = dns.A, *, edns: int = 0) -> bytes:
    data = struct.pack("!6H", 77, 0x0100, 1, 0, 0, 1 if edns else 0) + dns.encode_name(name)
    data += struct.pack("!HH", kind, 1)
    return data + (b"\0" + struct.pack("!HHIH", dns.OPT, edns, 0, 0) if edns else b"")


def test_a_question_is_read_and_answered() -> None:
    asked = query("Web.Back")
    question = dns.parse(asked)
    assert (question.id, question.name, question.kind, question.size) == (77, "web.back", dns.A, 512)
    answer = dns.answer(asked, question, [dns.address_record("10.0.0.2")])
    assert struct.unpack_from("!6H", answer) == (77, 0x8580, 1, 1, 0, 0)
    assert b"Web" in answer  # as it was asked: some clients mix the case to be safe (draft-vixie-dnsext-dns0x20)
    assert answer.endswith(bytes([0, 4, 10, 0, 0, 2]))


def test_a_long_answer_says_so_by_udp() -> None:
    for size in (0, 1232):
        asked = query("web", edns=size)
        question = dns.parse(asked)
        records = [dns.address_record(f"10.0.0.{at}") for at in range(60)]
        answer = dns.answer(asked, question, records)
        fitted = dns.fit(answer, question)
        if size:
            assert fitted == answer
        else:
            assert int.from_bytes(fitted[2:4], "big") & 0x0200
            assert len(fitted) <= 512


@given(st.binary(max_size=80))
def test_any_bytes_are_a_question_or_malformed(data: bytes) -> None:
    try:
        question = dns.parse(data)
    except dns.MalformedError:
        return
    assert question.end <= len(data)


@given(st.ip_addresses())
def test_reverse_names(address: object) -> None:
    pointer = address.reverse_pointer  # type: ignore[attr-defined]  # an address
    assert dns.address_of(pointer) == str(address)


@pytest.mark.parametrize("name", ["x.in-addr.arpa", "1.2.3.in-addr.arpa", "1.ip6.arpa", "example"])
def test_what_is_no_reverse_name(name: str) -> None:
    assert dns.address_of(name) is None


def test_names_are_those_of_shared_networks_and_take_turns() -> None:
    names = Names()
    names.set("a", [{"network": "n", "names": ["a", "pool"], "title": "a.n", "addresses": ["10.0.0.2"]}])
    names.set("b", [{"network": "n", "names": ["b", "pool"], "title": "b.n", "addresses": ["10.0.0.3"]}])
    names.set("c", [{"network": "m", "names": ["c"], "title": "c.m", "addresses": ["10.0.1.2"]}])
    assert names.lookup("a", "b") == ["10.0.0.3"]
    assert names.lookup("c", "b") is None
    assert names.reverse("a", "10.0.0.3") == "b.n"
    assert names.reverse("c", "10.0.0.3") is None
    firsts = [(names.lookup("a", "pool") or [""])[0] for _ in range(4)]
    assert sorted(set(firsts)) == ["10.0.0.2", "10.0.0.3"]
    names.drop("b")
    assert names.lookup("a", "b") is None
