"""Recipes: YAML in, pydantic models out, and errors that name the file, the line and the nearest valid key.

A tree is the plain data of a recipe whose keys remember where they were written (:class:`Key`), so a part of
a tree is a tree, and every error can point at its line. The YAML is the 1.2 core schema without anchors and
tags: ``no`` is a word, ``1e-5`` is a number.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, RootModel, ValidationError
from pydantic_core import ErrorDetails

from reckon.core.errors import ConfigError

Tree = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32


class Strict(BaseModel):
    """Base of every config: immutable, no unknown keys, no infinities."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Key(str):
    """A key of a tree. ``origin`` says where it was written: ``recipe.yaml:12`` or ``--set a.b=c``."""

    origin: str

    def __new__(cls, text: str, origin: str = "") -> Key:
        key = super().__new__(cls, text)
        key.origin = origin
        return key


# ---------------------------------------------------------------------------------------------- reading


class _Loader(yaml.BaseLoader):
    """Composes nodes with the scalar rules of YAML 1.2; the nodes are turned into data by :func:`_build`."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.MarkedYAMLError(problem="anchors and aliases are not allowed", problem_mark=event.start_mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(
                problem=f"nested more than {MAX_DEPTH} levels deep", problem_mark=event.start_mark
            )
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Writes what :class:`_Loader` reads back as the same data."""

    def represent_str(self, text: str) -> yaml.ScalarNode:
        # Unquoted or in single quotes, U+0085 and its like would be read back as line breaks.
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_SCALARS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
}
for _name, _pattern in _SCALARS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_pattern})$"), None)
_Dumper.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers
_Dumper.add_representer(str, _Dumper.represent_str)


def load_yaml(path: Path) -> Tree:
    """Read a YAML mapping; every key of the result is a :class:`Key`.

    Raises ConfigError, with file and line, if the file cannot be read, is not YAML, repeats a key, is larger
    than ``MAX_BYTES`` or nested deeper than ``MAX_DEPTH``, or is not a mapping.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(
            f"cannot read this file: {error.strerror}", where=str(path), fix="Check the path and its permissions."
        ) from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError("not UTF-8 text", where=f"{path}:{line}", fix="Save the file as UTF-8.") from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"larger than {MAX_BYTES // 1024} KiB; a recipe is not data", where=str(path))
    tree = _read(text, str(path), lines=True)
    if not isinstance(tree, dict):
        raise ConfigError("should be a mapping of settings (key: value)", where=str(path))
    return tree


def _read(text: str, source: str, lines: bool) -> Any:
    """Parse YAML. Origins are ``source:line`` if ``lines``, else ``source``."""

    def origin(line: int) -> str:
        return f"{source}:{line + 1}" if lines else source

    try:
        node = yaml.compose(text, Loader=_Loader)
        return None if node is None else _build(node, origin)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position)
        raise ConfigError(f"not YAML: character {error.character!r} is not allowed", where=origin(line)) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        detail = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"not a valid recipe: {detail}", where=origin(mark.line if mark else 0)) from None


def _build(node: yaml.Node, origin: Callable[[int], str]) -> Any:
    if isinstance(node, yaml.MappingNode) and node.tag.endswith(":map"):
        seen: dict[str, int] = {}
        tree: Tree = {}
        for key, value in node.value:
            line = key.start_mark.line
            if not isinstance(key, yaml.ScalarNode):
                raise _marked("a key should be a word", key)
            if key.value in seen:
                raise _marked(f"key {key.value!r} is written twice, first in line {seen[key.value] + 1}", key)
            seen[key.value] = line
            tree[Key(key.value, origin(line))] = _build(value, origin)
        return tree
    if isinstance(node, yaml.SequenceNode) and node.tag.endswith(":seq"):
        return [_build(item, origin) for item in node.value]
    return _scalar(node)


def _scalar(node: yaml.Node) -> Any:
    text = node.value
    try:
        match node.tag.removeprefix("tag:yaml.org,2002:"):
            case "str":
                return text
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return int(text)
            case "float":
                return float(text.replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        raise _marked(f"{text[:40]!r} is not a number that can be read", node) from None
    raise _marked(f"tag {node.tag!r} is not allowed", node)


def _marked(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


# -------------------------------------------------------------------------------------------- overriding


def apply_overrides(tree: Tree, settings: Sequence[str]) -> Tree:
    """A copy of ``tree`` with ``a.b=c`` settings applied; values are YAML, numbers in a path index lists.

    Setting a section's ``kind`` to another value starts that section anew, because its other settings belonged
    to the old kind. Unknown paths are left for :func:`parse` to report.

    Raises ConfigError if a setting is not ``path=value`` or leads through something that is not a section.
    """
    parsed = []
    for setting in settings:
        path, equals, text = setting.partition("=")
        keys = path.strip().split(".")
        origin = f"--set {setting}"
        if not equals or not all(keys):
            raise ConfigError("should look like a.b=value", where=origin)
        parsed.append((keys, _read(text, origin, lines=False), origin))
    kinds = sorted((entry for entry in parsed if entry[0][-1] == "kind"), key=lambda entry: len(entry[0]))
    for keys, value, origin in kinds + [entry for entry in parsed if entry[0][-1] != "kind"]:
        tree = _with(tree, keys, value, origin)
    return tree


def _with(node: Any, keys: list[str], value: Any, origin: str) -> Any:
    """A copy of ``node`` in which ``keys`` leads to ``value``; what lies beside the path is shared."""
    head, rest = keys[0], keys[1:]
    if isinstance(node, list):
        if not head.isdecimal() or int(head) >= len(node):
            raise ConfigError(f"{head!r} is not an index of a list of {len(node)}", where=origin)
        index = int(head)
        items: list[Any] = [*node]
        items[index] = _with(node[index], rest, value, origin) if rest else value
        return items
    if not isinstance(node, dict):
        raise ConfigError(f"{head!r} cannot be set inside {_shown(node)}, which is not a section", where=origin)
    if not rest and head == "kind" and node.get("kind", value) != value:
        return {Key(head, origin): value}
    copy, old = {**node}, node.get(head)
    if rest and isinstance(old, dict):
        copy[head] = _with(old, rest, value, origin)
        return copy
    copy.pop(head, None)
    copy[Key(head, origin)] = _with({} if head not in node else old, rest, value, origin) if rest else value
    return copy


# ------------------------------------------------------------------------------------------- validating


def parse(model_type: type[Model], tree: Tree, source: str) -> Model:
    """Validate ``tree`` as JSON data, strictly: ``"8"`` and ``true`` are no integers, ``8`` is a float.

    Args:
        source: names the tree in errors about what has no line of its own (a key missing at the top).

    Raises ConfigError listing every problem: where, the value, what is wrong and, for a misspelt key or kind,
    the nearest valid one.
    """
    try:
        return model_type.model_validate_json(json.dumps(tree), strict=True)
    except ValidationError as error:
        found = [_problem(detail, model_type, tree, source) for detail in error.errors(include_url=False)]
    if len(found) == 1:
        raise ConfigError(found[0][1], where=found[0][0])
    listed = "".join(f"\n  {where}: {what}" for where, what in found)
    raise ConfigError(f"{len(found)} settings cannot be used:{listed}", where=source)


def _problem(detail: ErrorDetails, model_type: type[BaseModel], tree: Tree, source: str) -> tuple[str, str]:
    """Where and what, for one of pydantic's findings."""
    path, holder, found = _resolve(detail["loc"], model_type)
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind.startswith("union_tag"):
        path.append(str(context["discriminator"]).strip("'"))
    name = ".".join(map(str, path))
    match kind:
        case "extra_forbidden":
            what = f"unknown key {name}{_choices(path[-1], list(getattr(holder, 'model_fields', ())))}"
        case "missing":
            what = f"{name} is missing"
        case "union_tag_not_found":
            what = f"{name} is missing{_choices('', _tags(found))}"
        case "union_tag_invalid":
            what = f"{name} = {_shown(context['tag'])} is unknown{_choices(context['tag'], _tags(found))}"
        case "literal_error":
            what = f"{name} = {_shown(value)} is unknown{_choices(value, _tags(found))}"
        case _:
            shown = "" if isinstance(value, dict) else f" = {_shown(value)}"
            words = re.sub("^(Value error, |Assertion failed, |Input )", "", detail["msg"])
            what = f"{name}{shown}: {words}" if name else words
    return _origin(path, tree) or source, what


def _resolve(loc: tuple[int | str, ...], model_type: type[BaseModel]) -> tuple[list[int | str], Any, Any]:
    """Follow a pydantic location through the types.

    Returns the path in the tree (pydantic also names the chosen member of each union, which is no key), the
    type that holds the path's last key, and the type expected there.
    """
    path: list[int | str] = []
    holder: Any = model_type
    found: Any = model_type
    for part in loc:
        members = _members(found)
        if len(members) > 1:
            found = next((member for member in members if _is_named(member, part)), Any)
            continue
        path.append(part)
        holder = members[0]
        arguments = get_args(holder)
        if hasattr(holder, "model_fields"):
            field = holder.model_fields.get(part)
            found = field.annotation if field else Any
        else:
            found = arguments[-1 if get_origin(holder) is dict else 0] if arguments else Any
    return path, holder, found


def _members(annotation: Any) -> list[Any]:
    """The alternatives of a type, without None; a type that is no union is its own only alternative."""
    if isinstance(annotation, type) and issubclass(annotation, RootModel):
        return _members(annotation.model_fields["root"].annotation)
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [member for part in get_args(annotation) if part is not type(None) for member in _members(part)]
    return [annotation]


def _is_named(member: Any, tag: int | str) -> bool:
    return tag == getattr(member, "__name__", None) or tag in _tags(member)


def _tags(annotation: Any) -> list[Any]:
    """The words that a type allows: of a Literal its values, of a model that of its first field with only one."""
    tags: list[Any] = []
    for member in _members(annotation):
        if get_origin(member) is Literal:
            tags += get_args(member)
        literals = (get_args(f.annotation) for f in getattr(member, "model_fields", {}).values() if _is_literal(f))
        tags += next((words for words in literals if len(words) == 1), ())
    return tags


def _is_literal(field: Any) -> bool:
    return get_origin(field.annotation) is Literal


def _choices(word: Any, valid: Sequence[Any]) -> str:
    words = [str(choice) for choice in valid]
    close = difflib.get_close_matches(str(word), words, 1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; valid here: {', '.join(words)}" if words else ""


def _origin(path: Sequence[int | str], tree: Tree) -> str:
    """Where the deepest part of ``path`` that exists was written; "" if nothing of it was."""
    origin, node = "", cast(Any, tree)
    for part in path:
        if isinstance(node, dict) and part in node:
            origin = next((getattr(key, "origin", origin) for key in node if key == part), origin)
        elif not isinstance(node, list) or not isinstance(part, int) or part >= len(node):
            break
        node = node[part]
        if isinstance(part, int) and isinstance(node, dict):
            origin = next((getattr(key, "origin", origin) for key in node), origin)
    return origin


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


# --------------------------------------------------------------------------------------------- writing


def to_yaml(model: BaseModel) -> str:
    """The config with all its defaults, as a recipe that :func:`parse` reads back equal."""
    return dump_yaml(model.model_dump(mode="json"))


def dump_yaml(tree: Any) -> str:
    """Plain data as YAML that :func:`load_yaml` reads back equal; the order of keys is kept."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def digest(model: BaseModel) -> str:
    """sha256 (hex) of the config's values, defaults included; the order of keys does not matter."""
    text = json.dumps(model.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
