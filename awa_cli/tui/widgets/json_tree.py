"""A JSON value as a tree."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rich.text import Text
from textual.binding import Binding
from textual.widgets import Tree

from awa_cli.views.words import clean

if TYPE_CHECKING:
    from textual.widgets.tree import TreeNode

    from awa_cli.tui.host import Host

__all__ = ["JsonTree"]

# Objects and arrays with at most this many members start expanded.
_MAX_EXPANDED: Final = 12
# Members shown of an object or array.
_MAX_MEMBERS: Final = 500


class JsonTree(Tree[Any]):
    """A JSON value; a new value keeps nodes expanded or collapsed as they are."""

    app: Host
    BINDINGS: ClassVar = [
        Binding("j", "cursor_down", "Down", show=False),
        Binding("k", "cursor_up", "Up", show=False),
    ]

    def __init__(self, title: str, **options: Any) -> None:
        super().__init__(title, **options)
        self._value: Any = None
        self.guide_depth = 2
        if self.app.ascii_only:
            self.ICON_NODE, self.ICON_NODE_EXPANDED = "+ ", "- "
            self.LINES = dict.fromkeys(self.LINES, ("  ", "| ", "+ ", "+-"))
        self.auto_expand = True

    def show(self, value: Any) -> None:
        """Show a value if it has changed."""
        self.display = value not in (None, {}, [])
        if value == self._value and self.root.children:
            return
        open_paths = _open_paths(self.root) if self._value is not None else None
        self._value = value
        self.clear()
        self._add(self.root, value, (), open_paths)
        self.root.expand()

    def _add(
        self,
        node: TreeNode[Any],
        value: Any,
        path: tuple[Any, ...],
        open_paths: set[tuple[Any, ...]] | None,
    ) -> None:
        """Add the members of a value; expand ``open_paths``, or small nodes if it is None."""
        members = _members(value)
        for name, item in members[:_MAX_MEMBERS]:
            here = (*path, name)
            if isinstance(item, dict | list) and item:
                is_open = len(item) <= _MAX_EXPANDED if open_paths is None else here in open_paths
                brackets = "{}" if isinstance(item, dict) else "[]"
                label = Text.assemble((clean(name), "bold"), f"  {brackets} {len(item)}")
                self._add(node.add(label, here, expand=is_open), item, here, open_paths)
            else:
                node.add_leaf(self._leaf(name, item), here)
        if len(members) > _MAX_MEMBERS:
            node.add_leaf(f"and {len(members) - _MAX_MEMBERS:,} more")

    def _leaf(self, name: Any, value: Any) -> Text:
        text = clean(json.dumps(value, ensure_ascii=False))
        paint = self.app.paint
        style = paint("green") if isinstance(value, str) else paint("yellow")
        head = (f"{clean(name)}: ", paint("bright_black")) if name != "" else ""
        return Text.assemble(head, (text, style))


def _members(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else [("", value)]


def _open_paths(node: TreeNode[Any]) -> set[tuple[Any, ...]]:
    found = set()
    for child in node.children:
        if child.is_expanded and child.data is not None:
            found.add(child.data)
        found |= _open_paths(child)
    return found
