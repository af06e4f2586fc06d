"""Dataclasses that are cheap to make behave as the standard library's."""

import copy
import dataclasses
import operator
import pickle
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from jupyter_containers import records


def _classes(library: ModuleType) -> dict[str, Any]:
    """The same classes, made by either library."""

    @library.dataclass(frozen=True, slots=True)
    class Point:
        """A point."""

        x: int
        y: int = 2
        tags: tuple[str, ...] = ()
        notes: list[str] = library.field(default_factory=list, compare=False, repr=False)

    @library.dataclass(frozen=True, slots=True)
    class Deep(Point):
        z: int = 3

        def __repr__(self) -> str:
            return "deep"

    @library.dataclass(slots=True)
    class Sum:
        left: int
        right: int
        total: int = library.field(init=False)

        def __post_init__(self) -> None:
            self.total = self.left + self.right

    @library.dataclass(frozen=True, slots=True, order=True)
    class Version:
        major: int
        minor: int = 0

    @library.dataclass
    class Open:
        name: str = "x"
        count: int = library.field(default=0, init=False)

    return {each.__name__: each for each in (Point, Deep, Sum, Version, Open)}


OURS, THEIRS = _classes(records), _classes(dataclasses)

USES: list[Callable[[dict[str, Any]], object]] = [
    lambda made: repr(made["Point"](1, tags=("a",))).rpartition(".")[2],
    lambda made: repr(made["Deep"](1)),
    lambda made: repr(made["Sum"](1, right=2)).rpartition(".")[2],
    lambda made: made["Point"](1, 2, ("a",)) == made["Point"](y=2, x=1, tags=("a",), notes=["not compared"]),
    lambda made: made["Point"](1) == made["Point"](2),
    lambda made: made["Point"](1) == made["Deep"](1),
    lambda made: made["Point"](1) == 1,
    lambda made: hash(made["Point"](1)) == hash(made["Point"](1, notes=["not compared"])),
    lambda made: made["Sum"].__hash__,
    lambda made: made["Sum"](3, 4).total,
    lambda made: made["Deep"](1, 2, (), [], 9).z,
    lambda made: made["Point"](1).notes is made["Point"](1).notes,
    lambda made: sorted([made["Version"](2), made["Version"](1, 5), made["Version"](1)])[1].minor,
    lambda made: [each(made["Version"](1), made["Version"](1, 1)) for each in (operator.le, operator.gt, operator.ge)],
    lambda made: made["Open"]().count,
    lambda made: made["Open"].name,
    lambda made: made["Open"]() == made["Open"]("x"),
    lambda made: hasattr(made["Point"](1), "__dict__"),
    lambda made: made["Point"].__match_args__,
    lambda made: made["Point"].__doc__,
    lambda made: dataclasses.asdict(made["Deep"](1)),
    lambda made: dataclasses.is_dataclass(made["Point"]),
    lambda made: [(each.name, each.type, each.default) for each in dataclasses.fields(made["Version"])],
    lambda made: dataclasses.replace(made["Point"](1), y=7).y,
    lambda made: copy.copy(made["Point"](1, 5)).y,
    lambda made: copy.deepcopy(made["Sum"](1, 5)).total,
]


@pytest.mark.parametrize("use", USES)
def test_a_class_does_what_the_standard_librarys_does(use: Callable[[dict[str, Any]], object]) -> None:
    assert use(OURS) == use(THEIRS)


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (lambda made: made["Point"](), TypeError),
        (lambda made: made["Point"](1, 2, (), [], 5), TypeError),
        (lambda made: made["Point"](1, x=1), TypeError),
        (lambda made: made["Point"](1, colour="red"), TypeError),
        (lambda made: made["Sum"](1, 2, total=3), TypeError),
        (lambda made: setattr(made["Point"](1), "x", 2), dataclasses.FrozenInstanceError),
        (lambda made: delattr(made["Deep"](1), "x"), dataclasses.FrozenInstanceError),
        (lambda made: setattr(made["Sum"](1, 2), "other", 2), AttributeError),
        (lambda made: made["Version"](1) < 1, TypeError),
        (lambda made: {made["Sum"](1, 2)}, TypeError),
    ],
)
@pytest.mark.parametrize("made", [OURS, THEIRS])
def test_what_is_wrong_is_refused(
    made: dict[str, Any], wrong: Callable[[dict[str, Any]], object], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        wrong(made)


@records.dataclass(frozen=True, slots=True)
class _Carried:
    name: str
    value: int = 0


def test_a_frozen_one_can_be_pickled_and_changed_in_a_copy() -> None:
    assert pickle.loads(pickle.dumps(_Carried("a", 1))) == _Carried("a", 1)
    assert records.replace(_Carried("a", 1), value=2) == _Carried("a", 2)


def test_the_standard_library_is_not_imported_for_it() -> None:
    import subprocess
    import sys

    code = "import sys; import jupyter_containers.events; print('dataclasses' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"
