"""JSON as a tree that folds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rich.text import Text
from textual.binding import Binding
from textual.widgets import Tree

from awa_cli.views.words import clean

if TYPE_CHECKING:
    from textual.widgets.tree import TreeNode

    from awa_cli.tui.app import Monitor

__all__ = ["JsonTree"]

# So many members are shown unfolded.
_UNFOLDED: Final = 12
_MOST: Final = 500


class JsonTree(Tree[Any]):
    """A value; ``show`` another one keeps what is folded as it is."""

    app: Monitor
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
        """Show a value; nothing happens for the same one."""
        self.display = value not in (None, {}, [])
        if value == self._value and self.root.children:
            return
        open_paths = _open_paths(self.root) if self._value is not None else None
        self._value = value
        self.clear()
        self._add(self.root, value, (), open_paths)
        self.root.expand()

    def _add(
        self, node: TreeNode[Any], value: Any, path: tuple[Any, ...],
        open_paths: set[tuple[Any, ...]] | None,
    ) -> None:  # fmt: skip
        pairs = list(value.items() if isinstance(value, dict) else enumerate(value)) if (
            isinstance(value, dict | list)
        ) else [("", value)]  # fmt: skip
        for name, item in pairs[:_MOST]:
            here = (*path, name)
            if isinstance(item, dict | list) and item:
                unfolded = len(item) <= _UNFOLDED if open_paths is None else here in open_paths
                count = len(item)
                label = Text.assemble((clean(name), "bold"), f"  {_shape(item)} {count}")
                self._add(node.add(label, here, expand=unfolded), item, here, open_paths)
            else:
                node.add_leaf(self._leaf(name, item), here)
        if len(pairs) > _MOST:
            node.add_leaf(f"and {len(pairs) - _MOST:,} more")

    def _leaf(self, name: Any, value: Any) -> Text:
        text = clean(json.dumps(value, ensure_ascii=False))
        paint = self.app.paint
        style = paint("green") if isinstance(value, str) else paint("yellow")
        head = (f"{clean(name)}: ", paint("bright_black")) if name != "" else ""
        return Text.assemble(head, (text, style))


def _shape(value: dict[str, Any] | list[Any]) -> str:
    return "{}" if isinstance(value, dict) else "[]"


def _open_paths(node: TreeNode[Any]) -> set[tuple[Any, ...]]:
    found = set()
    for child in node.children:
        if child.is_expanded and child.data is not None:
            found.add(child.data)
        found |= _open_paths(child)
    return found
