"""YAML files: the one place where they are read and checked.

What is wrong with a file is said in one sentence. A key that is there twice is refused, because
YAML itself takes the last one in silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import yaml

from diffeode.errors import InputError
from diffeode.files.presence import require_file
from diffeode.names import nearest, short

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

_KINDS = {
    "object": "a block of keys",
    "array": "a list",
    "string": "a word",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
_MOST_VALUES = 100_000
_LONGEST_REASON = 300
_MERGED = "tag:yaml.org,2002:merge"
"""The tag of the key ``<<``, which may be there several times."""


def read_yaml(path: Path | str, what: str = "file") -> Any:
    """Return the content of a YAML file.

    Args:
        what: what messages call the file where it is missing.

    Raises:
        InputError: the file is missing, not text in UTF-8 or not valid YAML, or a key is there
            twice.
    """
    path = Path(path)
    require_file(path, what)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not text in UTF-8 (byte {error.start}); save it as such."
        ) from None
    return parse_yaml(text, str(path))


def read_mapping(path: Path | str, what: str = "file") -> dict[Any, Any]:
    """Return the content of a YAML file of keys and values.

    Args:
        what: what messages call the file where it is missing.

    Raises:
        InputError: as in :func:`read_yaml`, or the file is empty or holds something else.
    """
    content = read_yaml(path, what)
    if content is None:
        raise InputError(f"{path} is empty; write keys and values, one 'key: value' to a line.")
    if not isinstance(content, dict):
        raise InputError(f"{path} does not hold keys and values; write one 'key: value' to a line.")
    return content


def parse_yaml(text: str, where: str) -> Any:
    """Return the content of YAML in ``text``.

    Args:
        where: where the text came from, for messages.

    Raises:
        InputError: the text is not valid YAML, or a key is there twice.
    """
    return deepcopy(_parsed(text, where))


@lru_cache(maxsize=128)
def _parsed(text: str, where: str) -> Any:
    """Return the content as :func:`parse_yaml` does, one object for all callers.

    A study reads the files of its runs again and again, and each takes milliseconds to parse.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _require_reasonable(node, where)
        return loader.construct_document(node)
    except InputError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        reason = f"{place}{error.problem or error.context}"
    except Exception as error:
        # PyYAML raises errors of many classes where a value does not fit its tag, such as a date
        # that is none, and RecursionError for thousands of brackets.
        plain = isinstance(error, ValueError | RecursionError)
        reason = str(error) if plain else f"a value does not fit its tag: {error}"
    reason = " ".join(reason.split())
    raise InputError(f"{where} is not valid YAML ({reason[:_LONGEST_REASON]}).")


def _require_reasonable(root: yaml.Node, where: str) -> None:
    """Raise :class:`InputError` where the YAML below ``root`` contains itself, or aliases (``*a``)
    would make more values of it than anybody writes.
    """
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()
    waiting = [(root, False)]
    while waiting:
        node, is_left = waiting.pop()
        parts = _parts(node)
        if is_left:
            open_nodes.discard(id(node))
            sizes[id(node)] = 1 + sum(sizes[id(part)] for part in parts)
            if sizes[id(node)] > _MOST_VALUES:
                raise InputError(
                    f"{where} holds more than {_MOST_VALUES:,} values, most of them by aliases "
                    "(*); write fewer."
                )
        elif id(node) in open_nodes:
            raise InputError(f"{where} has a value that contains itself by an alias (*).")
        elif id(node) not in sizes:
            open_nodes.add(id(node))
            waiting += [(node, True), *((part, False) for part in parts)]


def _parts(node: yaml.Node) -> list[yaml.Node]:
    """Return the values that a value of YAML consists of."""
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


class _Loader(yaml.SafeLoader):
    """Reads plain values only, and refuses a key that is there twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGED:
                continue
            if (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key.value!r} comes twice; keep one",
                    problem_mark=key.start_mark,
                )
            seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


# ----------------------------------------------------------------------------------- keys and kinds


@final
@dataclass(frozen=True)
class Key:
    """A key of a YAML file.

    Attributes:
        wanted: what its value must be, in words for messages.
        fits: returns whether a value is so.
        required: whether the key must be there.
    """

    wanted: str
    fits: Callable[[object], bool]
    required: bool = False


def _is_word(value: object) -> bool:
    return isinstance(value, str)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return _is_whole(value) or isinstance(value, float)


def _is_words(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_word, value))


WORD = Key("a text, in quotes where YAML takes it for another thing", _is_word)
TITLE = Key("a text on one line", lambda value: _is_word(value) and value.isprintable())
WORDS = Key("a list of texts, such as [a, b]", _is_words)
WHOLE = Key("a whole number", _is_whole)
NUMBER = Key("a number, such as 0.001 or 1.0e-3", _is_number)
FLAG = Key("true or false", lambda value: isinstance(value, bool))
BLOCK = Key(
    "keys and values, one 'key: value' to a line",
    lambda value: isinstance(value, dict) and all(map(_is_word, value)),
)
_OF_ANNOTATION = {"str": WORD, "int": WHOLE, "float": NUMBER, "bool": FLAG}


def or_null(key: Key) -> Key:
    """Return ``key`` with the difference that its value may also be null or left empty."""
    return Key(key.wanted, lambda value: value is None or key.fits(value), key.required)


def required(key: Key) -> Key:
    """Return ``key`` with the difference that it must be there."""
    return Key(key.wanted, key.fits, required=True)


def keys_of(kind: type) -> dict[str, Key]:
    """Return the fields of a dataclass of texts, numbers and flags as keys; those with a default
    may be left out.
    """
    keys = {}
    for field in fields(kind):
        key = _OF_ANNOTATION[str(field.type)]
        has_default = field.default is not MISSING or field.default_factory is not MISSING
        keys[field.name] = key if has_default else required(key)
    return keys


def require_keys(
    content: Mapping[Any, Any], keys: Mapping[str, Key], where: str, under: str = ""
) -> None:
    """Raise :class:`InputError` where ``content`` has a key that is not among ``keys``, lacks one
    that is required, or has a value that does not fit.

    Args:
        where: where the content came from, for messages.
        under: the key of that file that holds ``content``; empty where it is the whole file.
    """
    place = f" under {under}" if under else ""
    for name in content:
        if name not in keys:
            raise InputError(
                f"{where} has an unknown key {short(name)}{place}{nearest(name, keys)}."
            )
    for name, key in keys.items():
        if key.required and name not in content:
            raise InputError(f"{where} lacks the key {name!r}{place}; give {key.wanted}.")
        if name in content and not key.fits(content[name]):
            raise InputError(
                f"{where} has {name}: {short(content[name])}{place}; give {key.wanted}."
            )


# ------------------------------------------------------------------------------------- JSON schemas


def require_schema(content: Any, schema: dict[str, Any], where: str) -> None:
    """Raise :class:`InputError` where ``content``, which came from ``where``, does not follow a
    JSON schema.
    """
    # Imported here because it takes longer than all other files that every command reads.
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    validator = extend(Draft202012Validator, {"pattern": _unlike_pattern})
    errors = list(validator(schema).iter_errors(content))
    if errors:
        raise InputError(f"{where} {_sentence(min(errors, key=_rank))}.")


def _unlike_pattern(
    validator: object, pattern: str, instance: object, schema: object
) -> Iterator[ValidationError]:
    """Yield an error where a text is unlike ``pattern``, whose ``$`` means the end of the text.

    In Python ``$`` would also match before a line break at the end, and let it pass.
    """
    from jsonschema.exceptions import ValidationError

    if isinstance(instance, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _rank(error: ValidationError) -> tuple[bool, int]:
    """Return the order of errors: misspelt keys come first, because they explain missing ones."""
    return error.validator != "additionalProperties", len(error.absolute_path)


def _sentence(error: ValidationError) -> str:
    place = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "not":
        return f"has the key {place!r}, which has no effect beside its other keys"
    of_place = f" under {place}" if place else ""
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        key = next(key for key in error.instance if key not in known)
        return f"has an unknown key {short(key)}{of_place}{nearest(key, known)}"
    if error.validator == "required":
        key = next(key for key in error.validator_value if key not in error.instance)
        return f"lacks the key {key!r}{of_place}"
    if error.validator == "enum":
        return (
            f"has {place}: {short(error.instance)}{nearest(error.instance, error.validator_value)}"
        )
    if error.validator == "minLength":
        return f"has an empty {place}; give it a value"
    if error.validator == "type":
        wanted = error.validator_value
        kinds = [wanted] if isinstance(wanted, str) else wanted
        allowed = " or ".join(_KINDS[kind] for kind in kinds)
        return f"has {place or 'content'}: {short(error.instance)}, which is not {allowed}"
    return f"has {place}: {short(error.instance)}, which is not allowed ({_rule(error)})"


def _rule(error: ValidationError) -> str:
    """Return the rule that a value breaks, without the value, which may be long."""
    rule = error.message.replace(repr(error.instance), "it")
    return rule if len(rule) <= _LONGEST_REASON else f"{rule[:_LONGEST_REASON]}..."
