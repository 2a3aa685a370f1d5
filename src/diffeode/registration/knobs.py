"""Knobs: settings that are declared once, with their range or choices, unit and meaning.

Settings are frozen dataclasses whose fields are made by :func:`knob`. A field holds a value, a
group of settings, or terms of a family. The declarations are used in five places: to check values
(:func:`check`), to make settings from a mapping as a YAML file holds it (:func:`build`), to make
such a mapping from settings (:func:`as_parameters`), to change single values by dotted names such
as ``similarity.mind.weight`` (:func:`changed`), and to write ``docs/methods.md``.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, final

from diffeode.errors import InputError
from diffeode.names import nearest, short

Parameters = Mapping[str, Any]
"""Settings as a YAML file holds them: names with values, lists, or mappings of the same form."""


# ----------------------------------------------------------------------------------------- declared


@final
@dataclasses.dataclass(frozen=True)
class Knob:
    """The declaration of a field besides its name, type and default.

    Attributes:
        domain: the values that the field may have.
        meaning: one sentence or more, without the full stop at the end.
        unit: the unit of the values in words; empty where they have none.
    """

    domain: Domain
    meaning: str
    unit: str = ""


def knob(default: Any, domain: Domain, meaning: str, unit: str = "") -> Any:
    """Return a field of frozen settings; see :class:`Knob`."""
    return dataclasses.field(default=default, metadata={"knob": Knob(domain, meaning, unit)})


def with_default(cls: type, name: str, default: Any) -> Any:
    """Return the knob ``name`` of the settings ``cls`` with another default, for other settings
    that have the same knob.
    """
    return dataclasses.field(default=default, metadata=_fields(cls)[name].metadata)


def knob_of(field: dataclasses.Field) -> Knob:
    """Return the declaration of a field.

    Raises:
        TypeError: the field was not declared by :func:`knob`.
    """
    if "knob" not in field.metadata:
        raise TypeError(
            f"The hyper-parameter {field.name} must be declared by knob(default, range, meaning)."
        )
    return field.metadata["knob"]


class Domain(ABC):
    """The values that a knob may have."""

    @abstractmethod
    def require(self, name: str, value: Any, unit: str) -> None:
        """Raise :class:`InputError` where ``value``, which has the right type, is not allowed for
        knob ``name``.
        """

    @abstractmethod
    def __str__(self) -> str:
        """Return the domain in words, for the documentation; empty where the type says enough."""


@final
@dataclasses.dataclass(frozen=True)
class Between(Domain):
    """Numbers, alone or in a list, from ``low`` to ``high``, both included."""

    low: float
    high: float

    def require(self, name: str, value: Any, unit: str) -> None:
        for number in value if isinstance(value, list | tuple) else (value,):
            if not self.low <= number <= self.high:
                raise InputError(
                    f"Parameter {name} is {number}; it must lie between {self.low:g} and "
                    f"{self.high:g}."
                )

    def __str__(self) -> str:
        return f"{self.low:,.12g} to {self.high:,.12g}"


@final
@dataclasses.dataclass(frozen=True)
class OneOf(Domain):
    """One of several words or whole numbers."""

    choices: tuple[Any, ...] | Callable[[], tuple[str, ...]]

    @property
    def known(self) -> tuple[Any, ...]:
        """Return the choices."""
        return self.choices() if callable(self.choices) else self.choices

    def require(self, name: str, value: Any, unit: str) -> None:
        if value in self.known:
            return
        if isinstance(value, str):
            raise InputError(f"Parameter {name} is {short(value)}{nearest(value, self.known)}.")
        raise InputError(
            f"Parameter {name} is {value}; it must be {' or '.join(map(str, self.known))} {unit}."
        )

    def __str__(self) -> str:
        return ", ".join(f"`{choice}`" for choice in self.known)


@final
@dataclasses.dataclass(frozen=True)
class Odd(Domain):
    """Widths of windows: odd numbers from ``low`` to ``high``."""

    low: int
    high: int

    def require(self, name: str, value: Any, unit: str) -> None:
        if value % 2 != 1:
            raise InputError(
                f"Parameter {name} is {value}; a window needs an odd, whole number of voxels."
            )
        Between(self.low, self.high).require(name, value, unit)

    def __str__(self) -> str:
        return f"odd, {self.low} to {self.high}"


@final
@dataclasses.dataclass(frozen=True)
class Several(Domain):
    """Lists of ``fewest`` to ``most`` whole numbers from ``low`` to ``high``.

    Attributes:
        wanted: the description of such a list in words.
    """

    fewest: int
    most: int
    low: int
    high: float
    wanted: str

    def require(self, name: str, value: Any, unit: str) -> None:
        if not self.fewest <= len(value) <= self.most or not all(
            self.low <= n <= self.high for n in value
        ):
            raise InputError(f"Parameter {name} is {value}; give {self.wanted}.")

    def __str__(self) -> str:
        return self.wanted


@final
class Anything(Domain):
    """Every value of the field's type."""

    def require(self, name: str, value: Any, unit: str) -> None:
        return

    def __str__(self) -> str:
        return ""


@final
class Group(Domain):
    """A group of settings. Values that are given replace single values and keep the others."""

    def require(self, name: str, value: Any, unit: str) -> None:
        check(value, f"{name}.")

    def __str__(self) -> str:
        return ""


@dataclasses.dataclass(frozen=True)
class Family(Domain):
    """Settings of a kind that is chosen by name.

    Attributes:
        members: the kinds by name; each is a dataclass of settings with a ``name``.
        base: the class from which every kind derives, including kinds that are not in ``members``.
    """

    members: Mapping[str, type]
    base: type

    def _require_kind(self, name: str, value: Any) -> None:
        if not isinstance(value, self.base):
            raise InputError(f"Parameter {name} holds {value!r}, which is no {self.base.__name__}.")

    def __str__(self) -> str:
        return ", ".join(f"`{name}`" for name in self.members)


@final
@dataclasses.dataclass(frozen=True)
class AnyOf(Family):
    """A tuple of settings of different kinds. Kinds that are given replace the whole tuple."""

    def require(self, name: str, value: Any, unit: str) -> None:
        if not isinstance(value, tuple):
            raise InputError(
                f"Parameter {name} is {value!r}; give a tuple of {self.base.__name__}."
            )
        for term in value:
            self._require_kind(name, term)
            check(term, f"{name}.{term.name}.")
        names = [term.name for term in value]
        for repeated in (one for one in names if names.count(one) > 1):
            raise InputError(f"Parameter {name} has {repeated} twice; give it once.")


@final
@dataclasses.dataclass(frozen=True)
class ExactlyOneOf(Family):
    """Settings of one kind. A kind that is given replaces the present one."""

    def require(self, name: str, value: Any, unit: str) -> None:
        self._require_kind(name, value)
        check(value, f"{name}.{value.name}.")


def between(low: float, high: float) -> Domain:
    """See :class:`Between`."""
    return Between(low, high)


def one_of(*choices: Any) -> Domain:
    """See :class:`OneOf`. A single function is called for the choices when they are needed."""
    return OneOf(choices[0] if len(choices) == 1 and callable(choices[0]) else choices)


def odd(low: int, high: int) -> Domain:
    """See :class:`Odd`."""
    return Odd(low, high)


def several(fewest: int, most: int, low: int, high: float, wanted: str) -> Domain:
    """See :class:`Several`."""
    return Several(fewest, most, low, high, wanted)


def anything() -> Domain:
    """See :class:`Anything`."""
    return Anything()


def group() -> Domain:
    """See :class:`Group`."""
    return Group()


def any_of(members: Mapping[str, type], base: type) -> Domain:
    """See :class:`AnyOf`."""
    return AnyOf(members, base)


def exactly_one_of(members: Mapping[str, type], base: type) -> Domain:
    """See :class:`ExactlyOneOf`."""
    return ExactlyOneOf(members, base)


# ------------------------------------------------------------------------------------------ checked


def check(settings: Any, within: str = "") -> None:
    """Check every value of ``settings``, including nested ones, against its type and domain.

    Args:
        within: the beginning of the dotted names in messages, such as ``"flow."``.

    Raises:
        InputError: a value has the wrong type or is not allowed; the message gives its dotted name.
    """
    for field in dataclasses.fields(settings):
        known, value, name = knob_of(field), getattr(settings, field.name), within + field.name
        if _is_leaf(known.domain):
            _require_type(field, value, f"Parameter {name}")
        known.domain.require(name, value, known.unit)


def _require_type(field: dataclasses.Field, value: Any, subject: str, finite: bool = False) -> None:
    """Raise :class:`InputError` where ``value`` does not fit the annotation of the knob.

    9.0 is not accepted as a whole number, so that receipts hold the value that was used.

    Args:
        subject: the beginning of the message.
        finite: whether infinite values and NaN are refused, too.
    """
    fits, wanted = _KINDS[_annotation(field)]
    if not fits(value) or (finite and not _is_finite(value)):
        raise InputError(
            f"{subject} is {short(value)}, which is no {wanted}{_exponent(value)} (default: "
            f"{json.dumps(field.default)})."
        )


def _annotation(field: dataclasses.Field) -> str:
    return field.type if isinstance(field.type, str) else inspect.formatannotation(field.type)


def _exponent(value: Any) -> str:
    """Return how to write a number such as ``1e-3``, which YAML reads as a word; empty for
    others.
    """
    words = [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, str)]
    is_number = any(_EXPONENT.fullmatch(word) for word in words)
    return "; write 1.0e-3 or 0.001 where 1e-3 is meant" if is_number else ""


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or isinstance(value, float)


def _list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and all(map(fits, value))


def _is_finite(value: Any) -> bool:
    values = value if isinstance(value, list | tuple) else (value,)
    return all(math.isfinite(v) for v in values if isinstance(v, float))


_EXPONENT = re.compile(r"[-+]?[\d.]+e[-+]?\d+", re.IGNORECASE)
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "int": (_is_whole, "whole number"),
    "float": (_is_number, "number"),
    "bool": (lambda value: isinstance(value, bool), "flag, true or false"),
    "str": (lambda value: isinstance(value, str), "word"),
    "tuple[int, ...]": (_list_of(_is_whole), "list of whole numbers"),
    "tuple[float, ...]": (_list_of(_is_number), "list of numbers"),
}
"""By annotation of a knob: a function that says whether a value fits, and the name of the kind."""


# -------------------------------------------------------------------------------------------- built


def build(cls: type, given: Parameters, method: str) -> Any:
    """Return settings ``cls`` with the values ``given`` in place of defaults.

    Values of a group replace single defaults. Terms of a family replace all its default terms.

    Args:
        cls: the class of the settings. Its attribute ``formerly``, where there is one, maps former
            names of parameters to present ones.
        method: name of the method whose settings they are, for messages.

    Raises:
        InputError: a name is unknown, and the message gives the nearest one; or a value has the
            wrong type or is out of range.
    """
    reader = _Reader(cls, method)
    return cls(**reader.merged(cls(), given, ""))


def changed(settings: Any, by: Mapping[str, Any], method: str = "") -> Any:
    """Return ``settings`` with other values of some knobs.

    A value of a term that is not among the settings adds the term, with defaults for its other
    values.

    Args:
        by: the values by dotted names, such as ``similarity.mind.weight``.
        method: as in :func:`build`; empty where messages need not name it.

    Raises:
        InputError: as in :func:`build`.
    """
    reader = _Reader(type(settings), method)
    values = _values(settings)
    for name, value in by.items():
        key, *rest = name.split(".")
        field = reader.field_of(type(settings), key, "")
        values[key] = reader.step(field, values[key], rest, value, key)
    return type(settings)(**values)


@final
class _Reader:
    """Converts plain values into values of knobs.

    It checks types only. Ranges and choices are checked when the settings are made.
    """

    def __init__(self, cls: type, method: str) -> None:
        self.cls, self.method = cls, method

    def merged(self, settings: Any, given: Any, within: str) -> dict[str, Any]:
        """Return the values of ``settings`` after replacing those that ``given`` holds."""
        values = _values(settings)
        for key, value in given.items():
            field = self.field_of(type(settings), key, within)
            values[key] = self.read(field, values[key], value, within + key)
        return values

    def field_of(self, cls: type, key: Any, within: str) -> dataclasses.Field:
        """Return the field ``key`` of the settings ``cls``."""
        fields = _fields(cls)
        if key not in fields:
            raise self._unknown(f"{within}{key}")
        return fields[key]

    def read(self, field: dataclasses.Field, before: Any, value: Any, name: str) -> Any:
        """Return the value of the knob ``name`` after ``value`` is given to it in place of
        ``before``.
        """
        domain = knob_of(field).domain
        if isinstance(domain, Group):
            return self._over(before, value, name)
        if isinstance(domain, AnyOf):
            terms = self._mapping(value, name)
            return self._ordered(
                domain, [self._term(domain, key, given, name) for key, given in terms.items()]
            )
        if isinstance(domain, ExactlyOneOf):
            return self._only(domain, value, name)
        _require_type(field, value, self._subject(name), finite=True)
        return tuple(value) if isinstance(value, list) else value

    def step(
        self, field: dataclasses.Field, before: Any, rest: Sequence[str], value: Any, name: str
    ) -> Any:
        """Return the value of the knob ``name`` after a change of the setting ``rest`` below it."""
        domain = knob_of(field).domain
        if not rest:
            return self.read(field, before, value, name)
        if isinstance(domain, Group):
            return self._below(before, rest, value, name)
        if isinstance(domain, AnyOf):
            terms = {term.name: term for term in before}
            terms[rest[0]] = self._changed_term(domain, terms.get(rest[0]), rest, value, name)
            return self._ordered(domain, list(terms.values()))
        if isinstance(domain, ExactlyOneOf):
            same = before if before.name == rest[0] else None
            return self._changed_term(domain, same, rest, value, name)
        raise self._unknown(".".join([name, *rest]))

    def _changed_term(
        self, domain: Family, before: Any, rest: Sequence[str], value: Any, name: str
    ) -> Any:
        """Return the term that ``rest`` begins with after its change; a new term starts at its
        defaults.
        """
        kind, *below = rest
        place = f"{name}.{kind}"
        term = self._member(domain, kind, place)() if before is None else before
        return self._below(term, below, value, place) if below else self._over(term, value, place)

    def _below(self, settings: Any, rest: Sequence[str], value: Any, name: str) -> Any:
        key, *below = rest
        field = self.field_of(type(settings), key, f"{name}.")
        return dataclasses.replace(
            settings,
            **{key: self.step(field, getattr(settings, key), below, value, f"{name}.{key}")},
        )

    def _over(self, settings: Any, given: Any, name: str) -> Any:
        return type(settings)(**self.merged(settings, self._mapping(given, name), f"{name}."))

    def _term(self, domain: Family, kind: Any, given: Any, name: str) -> Any:
        place = f"{name}.{kind}"
        return self._over(self._member(domain, kind, place)(), given, place)

    def _only(self, domain: Family, value: Any, name: str) -> Any:
        """Return settings of one kind; a name alone means that kind with its defaults."""
        if isinstance(value, str):
            OneOf(tuple(domain.members)).require(name, value, "")
            return domain.members[value]()
        named = self._mapping(value, name, "word, and no block of one")
        if len(named) != 1:
            kinds = ", ".join(domain.members)
            raise InputError(f"{self._subject(name)} names {len(named)} of {kinds}; name one.")
        ((kind, given),) = named.items()
        return self._term(domain, kind, given, name)

    def _member(self, domain: Family, kind: Any, place: str) -> type:
        if kind not in domain.members:
            raise self._unknown(place)
        return domain.members[kind]

    @staticmethod
    def _ordered(domain: Family, terms: Sequence[Any]) -> tuple[Any, ...]:
        """Return the terms in the order of the family, in which they are summed; others
        come last.
        """
        order = {name: place for place, name in enumerate(domain.members)}
        return tuple(sorted(terms, key=lambda term: order.get(term.name, len(order))))

    def _mapping(self, value: Any, name: str, wanted: str = "block") -> Parameters:
        if not isinstance(value, Mapping):
            raise InputError(
                f"{self._subject(name)} is {short(value)}, which is no {wanted} of names and "
                "values."
            )
        return value

    def _subject(self, name: str) -> str:
        return f"Parameter {name} of method {self.method}" if self.method else f"Parameter {name}"

    def _unknown(self, name: str) -> InputError:
        subject = (
            f"Method {self.method} has no parameter {name!r}"
            if self.method
            else f"There is no parameter {name!r}"
        )
        formerly: Mapping[str, str] = getattr(self.cls, "formerly", {})
        if name in formerly:
            return InputError(f"{subject}; it is now {formerly[name]!r}.")
        return InputError(f"{subject}{nearest(name, names_of(self.cls))}.")


# ----------------------------------------------------------------------------------------- and back


def as_parameters(settings: Any, whole: bool = False) -> dict[str, Any]:
    """Return ``settings`` as a mapping that :func:`build` takes.

    Args:
        whole: whether the mapping holds every value, or only values that differ from the defaults.
            A family that differs is given with all its terms.
    """
    found = {}
    for field in dataclasses.fields(settings):
        domain, value = knob_of(field).domain, getattr(settings, field.name)
        if whole or value != field.default:
            found[field.name] = _plain(domain, value, whole)
    return found


def _plain(domain: Domain, value: Any, whole: bool) -> Any:
    if isinstance(domain, Group):
        return as_parameters(value, whole)
    if isinstance(domain, Family):
        terms = value if isinstance(domain, AnyOf) else (value,)
        return {term.name: as_parameters(term, whole) for term in terms}
    return list(value) if isinstance(value, tuple) else value


def dotted(parameters: Parameters, within: str = "") -> dict[str, Any]:
    """Return the values of nested ``parameters`` by dotted names. An empty mapping counts as a
    value.
    """
    found: dict[str, Any] = {}
    for key, value in parameters.items():
        name = f"{within}{key}"
        found |= (
            dotted(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value}
        )
    return found


# ---------------------------------------------------------------------------------------- described


def fields_of(cls: type, within: str = "") -> Iterator[tuple[str, dataclasses.Field]]:
    """Yield every knob of the settings ``cls`` with its dotted name.

    Groups and families come before their own knobs.
    """
    for field in dataclasses.fields(cls):
        name, domain = within + field.name, knob_of(field).domain
        yield name, field
        if isinstance(domain, Group):
            yield from fields_of(type(field.default), f"{name}.")
        elif isinstance(domain, Family):
            for kind, member in domain.members.items():
                yield from fields_of(member, f"{name}.{kind}.")


def leaves_of(cls: type) -> dict[str, dataclasses.Field]:
    """Return the knobs of the settings ``cls`` that hold a value, by dotted name."""
    return {name: field for name, field in fields_of(cls) if _is_leaf(knob_of(field).domain)}


def names_of(cls: type) -> Iterator[str]:
    """Yield every dotted name that may be given for the settings ``cls``."""
    for name, field in fields_of(cls):
        yield name
        domain = knob_of(field).domain
        if isinstance(domain, Family):
            yield from (f"{name}.{kind}" for kind in domain.members)


def _is_leaf(domain: Domain) -> bool:
    return not isinstance(domain, Group | Family)


def _fields(cls: type) -> dict[str, dataclasses.Field]:
    return {field.name: field for field in dataclasses.fields(cls)}


def _values(settings: Any) -> dict[str, Any]:
    return {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
