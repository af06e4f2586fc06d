"""What is remembered of builds: found by name before id, the latest kept, and of failed ones what they left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jupyter_containers.build.cache import SqliteCache
from jupyter_containers.build.interfaces import Layer
from jupyter_containers.build.ledger import BUILDS_KEPT, STATES_KEPT, BuildRecord, Ledger
from jupyter_containers.errors import NotFound
from jupyter_containers.oci.image_spec import OCI_LAYER, Descriptor
from jupyter_containers.oci.names import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    cache = SqliteCache(None)
    yield cache.ledger
    cache.close()


def record(identity: str, *tags: str, error: str = "") -> BuildRecord:
    return BuildRecord(
        id=identity, created=1, name="Dockerfile", tags=list(tags), context="/c", error=error, seconds=1.0, steps=[]
    )


def layer(number: int) -> Layer:
    digest = Digest.of(b"%d" % number)
    return Layer(Descriptor(OCI_LAYER, digest, 1), digest)


def test_a_build_is_found_by_name_then_by_id(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="no build is remembered"):
        ledger.find()
    ledger.add(record("0a", "cafe:latest"), "f", top="1", left=None)
    ledger.add(record("cafe01", "other:2"), "f", top="2", left=None)
    assert ledger.find().id == "cafe01"
    assert [ledger.find(name).id for name in ("cafe", "cafe0", "other:2", "0a")] == ["0a", "cafe01", "cafe01", "0a"]
    with pytest.raises(NotFound, match="no build 'other' is remembered"):
        ledger.find("other")
    assert ledger.again("f", "3") is None
    assert ledger.again("f", "1") == "0a"
    assert ledger.find().id == "0a"


def test_the_oldest_go(ledger: Ledger) -> None:
    for number in range(BUILDS_KEPT + 2):
        ledger.add(record(f"{number:02}", error="x"), "f", top="", left=layer(number))
    assert [each.id for each in ledger.all()] == [f"{number:02}" for number in range(BUILDS_KEPT + 1, 1, -1)]
    assert {each.diff_id for each in ledger.left()} == {
        layer(BUILDS_KEPT + 1 - number).diff_id for number in range(STATES_KEPT)
    }
    (latest, kept), *_others = sorted(ledger.failures(), key=lambda pair: -int(pair[0].id))
    assert kept == layer(BUILDS_KEPT + 1)
    ledger.drop(latest.id)
    assert len(ledger.left()) == STATES_KEPT - 1
    ledger.clear()
    assert ledger.all() == []
