"""The description of a queue or a kind, for operators."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypedDict

from awa_lib.codec.encode import encode_object, to_json
from awa_lib.enqueue.unique import canonical_json
from awa_lib.errors import ValidationError
from awa_lib.validation import unknown_word

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Descriptor", "DescriptorFields"]

_LIMITS: Final = {"display_name": 200, "description": 2000, "owner": 200, "docs_url": 2048}
_MAX_TAGS: Final = 20


class DescriptorFields(TypedDict, total=False):
    """The fields of a descriptor; None leaves a field empty."""

    display_name: str | None
    description: str | None
    owner: str | None
    docs_url: str | None
    tags: Sequence[str] | None
    extra: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Descriptor:
    """The description of a queue or a kind.  Raises ValidationError for a value out of bounds."""

    display_name: str | None = None
    description: str | None = None
    owner: str | None = None
    docs_url: str | None = None
    tags: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the bounds of the columns."""
        for name, most in _LIMITS.items():
            value = getattr(self, name)
            if value is not None:
                _check_text(name, value, most)
        if not isinstance(self.tags, list | tuple) or len(self.tags) > _MAX_TAGS:
            raise ValidationError(f"tags must be a list of at most {_MAX_TAGS}: {self.tags!r}")
        for i, tag in enumerate(self.tags):
            _check_text(f"tags[{i}]", tag, None)
        encode_object(self.extra, name="extra")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Descriptor:
        """Return a descriptor of the fields that are not None.  Raises ValidationError."""
        known = DescriptorFields.__annotations__
        for name in given:
            if name not in known:
                raise unknown_word(f"unknown field of a descriptor {name!r}", name, known)
        return cls(**{name: value for name, value in given.items() if value is not None})

    @property
    def hash(self) -> str:
        """The hex BLAKE3 hash of the compact, sorted JSON; equal to that of awa 0.5."""
        from blake3 import blake3  # 1 ms, and only workers need it

        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return blake3(canonical_json(to_json(fields, "descriptor")).encode()).hexdigest()


def _check_text(name: str, value: object, most: int | None) -> None:
    if not isinstance(value, str) or (most is not None and len(value) > most):
        bound = "" if most is None else f" of at most {most} characters"
        raise ValidationError(f"{name} must be text{bound}, got {value!r:.80}")
    to_json(value, name)
