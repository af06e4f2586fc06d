"""Dataclasses that cost little to make: a command line makes dozens of them before it does anything.

``dataclasses`` writes source text for six functions of every class and compiles it, 0.4 ms for each. Here the
functions are closures over the class's fields. To a type checker these are the standard library's own; at run time
``dataclasses.fields`` and its like work too: the description that they read is made when it is first asked for.

Of the standard library's options there is what this package uses.
"""

from __future__ import annotations

import operator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, TypeVar

    T = TypeVar("T")

_MISSING: Any = object()


class _Field:
    """What is known of one field; ``name`` and ``kind`` (its annotation) are learnt when the class is made."""

    __slots__ = ("compare", "default", "default_factory", "init", "kind", "name", "repr")

    def __init__(self, default: Any, default_factory: Any, init: bool, repr_: bool, compare: bool) -> None:
        self.name = ""
        self.kind: Any = None
        self.default = default
        self.default_factory = default_factory
        self.init = init
        self.repr = repr_
        self.compare = compare

    def has_default(self) -> bool:
        """Whether there is a value where none is given."""
        return self.default is not _MISSING or self.default_factory is not _MISSING

    def initial(self) -> Any:
        """The value where none is given, ``_MISSING`` where one must be."""
        return self.default if self.default_factory is _MISSING else self.default_factory()


def _field(
    *,
    default: Any = _MISSING,
    default_factory: Any = _MISSING,
    init: bool = True,
    repr: bool = True,  # noqa: A002 - the standard library's name
    compare: bool = True,
) -> Any:
    """A field that needs more said than its type, as :func:`dataclasses.field`."""
    return _Field(default, default_factory, init, repr, compare)


def _dataclass(cls: Any = None, *, frozen: bool = False, slots: bool = False, order: bool = False) -> Any:
    """Make a class of annotated fields a dataclass, as :func:`dataclasses.dataclass`."""
    if cls is None:
        return lambda decorated: _made(decorated, frozen=frozen, slots=slots, order=order)
    return _made(cls, frozen=frozen, slots=slots, order=order)


def _replace(instance: T, **changes: Any) -> T:
    """A copy with other values in some fields, as :func:`dataclasses.replace`."""
    cls: Any = type(instance)
    for name, each in cls.__record__.items():
        if each.init and name not in changes:
            changes[name] = getattr(instance, name)
    replaced: T = cls(**changes)
    return replaced


def _made(cls: Any, *, frozen: bool, slots: bool, order: bool) -> Any:
    known: dict[str, _Field] = {}
    for base in reversed(cls.__mro__[1:]):
        known.update(base.__dict__.get("__record__", {}))
    own = _own_fields(cls)
    fields = {**known, **own}
    for name in own:
        default = fields[name].default
        if default is not _MISSING and not slots:
            setattr(cls, name, default)
        elif name in cls.__dict__:
            delattr(cls, name)
    if slots:
        cls = _with_slots(cls, tuple(name for name in own if name not in known))
    cls.__record__ = fields
    cls.__dataclass_fields__ = _Description()
    setattr(cls, "__match_args__", tuple(each.name for each in fields.values() if each.init))  # noqa: B010 - for mypy
    for name, function in _functions(cls, tuple(fields.values()), frozen=frozen, order=order).items():
        if name not in cls.__dict__:
            function.__qualname__ = f"{cls.__qualname__}.{name}"
            setattr(cls, name, function)
    if cls.__dict__.get("__hash__") is None:
        cls.__hash__ = _hash(cls) if frozen else None
    return cls


def _own_fields(cls: Any) -> dict[str, _Field]:
    own: dict[str, _Field] = {}
    for name, kind in cls.__annotations__.items():
        if "ClassVar" in str(kind):
            continue
        default = cls.__dict__.get(name, _MISSING)
        each = default if isinstance(default, _Field) else _Field(default, _MISSING, True, True, True)
        each.name, each.kind = name, kind
        own[name] = each
    return own


def _with_slots(cls: Any, names: tuple[str, ...]) -> Any:
    """The same class with slots, which a class must be born with."""
    namespace = {name: value for name, value in cls.__dict__.items() if name not in {"__dict__", "__weakref__"}}
    slotted = type(cls)(cls.__name__, cls.__bases__, {**namespace, "__slots__": names})
    slotted.__qualname__ = cls.__qualname__
    return slotted


def _key(cls: Any) -> Callable[[Any], Any]:
    """What instances are compared by."""
    names = [each.name for each in cls.__record__.values() if each.compare]
    return operator.attrgetter(*names) if names else lambda _instance: ()


def _hash(cls: Any) -> Callable[[Any], int]:
    key = _key(cls)

    def __hash__(self: Any) -> int:  # noqa: N807 - becomes the method
        return hash(key(self))

    return __hash__


def _functions(cls: Any, fields: Sequence[_Field], *, frozen: bool, order: bool) -> dict[str, Any]:
    """The methods of a class, by name, as far as it does not have its own."""
    key = _key(cls)
    shown = tuple(each.name for each in fields if each.repr)

    def __repr__(self: Any) -> str:  # noqa: N807 - becomes the method, as those below
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def __eq__(self: Any, other: object) -> Any:  # noqa: N807
        return key(self) == key(other) if other.__class__ is self.__class__ else NotImplemented

    functions: dict[str, Any] = {"__init__": _initializer(cls, fields), "__repr__": __repr__, "__eq__": __eq__}
    if order:
        functions |= {f"__{each.__name__}__": _comparison(each, key) for each in _ORDER}
    if frozen:
        functions |= {"__setattr__": _refuse_set, "__delattr__": _refuse_delete}
        functions |= {"__getstate__": _getstate, "__setstate__": _setstate}
    return functions


_ORDER = (operator.lt, operator.le, operator.gt, operator.ge)


def _comparison(operation: Callable[[Any, Any], bool], key: Callable[[Any], Any]) -> Any:
    def compare(self: Any, other: object) -> Any:
        return operation(key(self), key(other)) if other.__class__ is self.__class__ else NotImplemented

    return compare


def _initializer(cls: Any, every: Sequence[_Field]) -> Any:
    fields = [each for each in every if each.init or each.has_default()]
    names = tuple(each.name for each in fields)
    count = len(names) if all(each.init for each in fields) else -1
    after = getattr(cls, "__post_init__", None)
    put = object.__setattr__  # also where the class is frozen

    def __init__(self: Any, *values: Any, **named: Any) -> None:  # noqa: N807 - becomes the method
        if named or len(values) != count:
            values = _arranged(type(self).__qualname__, fields, values, named)
        for name, value in zip(names, values, strict=True):
            put(self, name, value)
        if after is not None:
            after(self)

    return __init__


def _arranged(title: str, fields: Sequence[_Field], values: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
    """The value of every field, in their order. Raises TypeError as a call of any function does."""
    arranged = []
    given = list(reversed(values))
    for each in fields:
        if each.init and given:
            arranged.append(given.pop())
        elif each.init and each.name in named:
            arranged.append(named.pop(each.name))
        else:
            arranged.append(each.initial())
            if arranged[-1] is _MISSING:
                raise TypeError(f"{title}() is missing the argument {each.name!r}")
    if given:
        raise TypeError(f"{title}() takes {len(fields)} positional arguments but {len(values)} were given")
    if named:
        raise TypeError(f"{title}() got an unexpected or a second value for {', '.join(map(repr, named))}")
    return tuple(arranged)


def _refuse_set(self: Any, name: str, _value: object) -> None:
    _refuse(self, name)


def _refuse_delete(self: Any, name: str) -> None:
    _refuse(self, name)


def _refuse(instance: Any, name: str) -> None:
    from dataclasses import FrozenInstanceError  # noqa: PLC0415 - only on the way to an error

    raise FrozenInstanceError(f"{type(instance).__qualname__}.{name} cannot be changed")


def _getstate(self: Any) -> list[Any]:
    return [getattr(self, name) for name in type(self).__record__]


def _setstate(self: Any, state: list[Any]) -> None:
    for name, value in zip(type(self).__record__, state, strict=True):
        object.__setattr__(self, name, value)


class _Description:
    """``__dataclass_fields__``, by which others know a dataclass and its fields."""

    def __get__(self, _instance: object, owner: Any) -> Mapping[str, Any]:
        import dataclasses  # noqa: PLC0415 - what this module is there to avoid

        shadow: Any = dataclasses.make_dataclass(owner.__name__, map(_described, owner.__record__.values()))
        owner.__dataclass_fields__ = shadow.__dataclass_fields__
        described: Mapping[str, Any] = owner.__dataclass_fields__
        return described


def _described(each: _Field) -> tuple[str, Any, Any]:
    from dataclasses import MISSING, field  # noqa: PLC0415 - what this module is there to avoid

    options: dict[str, Any] = {"init": each.init, "repr": each.repr, "compare": each.compare}
    options["default"] = MISSING if each.default is _MISSING else each.default
    options["default_factory"] = MISSING if each.default_factory is _MISSING else each.default_factory
    return each.name, each.kind, field(**options)


if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass, field as field, replace as replace  # noqa: PLC0414, I001, TID251 - re-exported
else:
    dataclass, field, replace = _dataclass, _field, _replace
