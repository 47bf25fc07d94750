"""What operators read about a queue or a kind."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from awa_lib.args import to_json
from awa_lib.errors import ValidationError

__all__ = ["Descriptor"]

_LIMITS: Final = {"display_name": 200, "description": 2000, "owner": 200, "docs_url": 2048}
_MOST_TAGS: Final = 20


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Description of a queue or a kind.  Raises ValidationError for a value out of bounds."""

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
            if value is not None and (not isinstance(value, str) or len(value) > most):
                raise ValidationError(f"{name} must be text of at most {most} characters")
        if len(self.tags) > _MOST_TAGS or not all(isinstance(tag, str) for tag in self.tags):
            raise ValidationError(f"tags must be at most {_MOST_TAGS} texts")
        to_json(self.extra, "extra")

    @property
    def hash(self) -> str:
        """Hex BLAKE3 of the compact, sorted JSON, as published: equal in every process."""
        from blake3 import blake3  # 1 ms, and only workers need it

        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return blake3(text.encode()).hexdigest()
