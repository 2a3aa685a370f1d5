"""YAML files, read and held to a schema: what is wrong is said in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from diffeode.errors import InputError
from diffeode.files.presence import require_file
from diffeode.names import nearest

_KINDS = {
    "object": "a block of keys",
    "array": "a list",
    "string": "a word",
    "integer": "a whole number",
}
_KINDS |= {"number": "a number", "boolean": "true or false", "null": "null"}


def read_yaml(path: Path) -> Any:
    """What a YAML file holds.

    Raises:
        InputError: missing, or not valid YAML.
    """
    require_file(path)
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None


def require_schema(content: Any, schema: dict[str, Any], where: str) -> None:
    """Raise :class:`InputError` where ``content``, which came from ``where``, does not follow a
    JSON schema.
    """
    errors = list(Draft202012Validator(schema).iter_errors(content))
    if errors:
        raise InputError(f"{where} {_sentence(min(errors, key=_rank))}.")


def _rank(error: ValidationError) -> tuple[bool, int]:
    """Misspelt keys first: they explain the missing ones."""
    return error.validator != "additionalProperties", len(error.absolute_path)


def _sentence(error: ValidationError) -> str:
    place = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "not":
        return f"has the key {place!r}, which its kind has no use for"
    of_place = f" under {place}" if place else ""
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        key = next(key for key in error.instance if key not in known)
        return f"has an unknown key {key!r}{of_place}{nearest(key, known)}"
    if error.validator == "required":
        key = next(key for key in error.validator_value if key not in error.instance)
        return f"lacks the key {key!r}{of_place}"
    if error.validator == "enum":
        return f"has {place}: {error.instance!r}{nearest(error.instance, error.validator_value)}"
    if error.validator == "minLength":
        return f"has an empty {place}; give it a value"
    if error.validator == "type":
        kinds = (
            [error.validator_value]
            if isinstance(error.validator_value, str)
            else error.validator_value
        )
        return (
            f"has {place or 'content'}: {error.instance!r}, which is not "
            f"{' or '.join(_KINDS[k] for k in kinds)}"
        )
    return f"has {place}: {error.instance!r}, which is not allowed ({error.message})"
