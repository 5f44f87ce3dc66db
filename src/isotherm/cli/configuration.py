"""What a training is asked for, in one place: words of the command line and a YAML file, checked against the signatures."""

from __future__ import annotations

import difflib
import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import pydantic
import yaml

import isotherm
from isotherm._checks import check_choice
from isotherm.models import MODELS, Training

TOP, MODEL, TRAINING = ("model", "data", "seed"), "settings", "training"
PLAIN = (int, float, str, bool, type(None))
ELSEWHERE = {"shape", "seed"}  # the data say the one; the other is the same for everything


@dataclass(frozen=True)
class Configuration:
    """A training, asked for in full.

    Attributes:
        model: Name in `MODELS`.
        data: What `load_data` takes.
        seed: Root of all randomness.
        settings: Of the model.
        training: Of the training.
    """

    model: str
    data: str
    seed: int
    settings: dict[str, Any]
    training: dict[str, Any]

    def make_training(self) -> Training:
        """The training that was asked for."""
        return Training(**self.training, seed=self.seed)

    def make_model(self, shape: Sequence[int]) -> Any:
        """The model that was asked for, for observations of a shape."""
        kind: Any = MODELS[self.model]
        return kind(tuple(shape), **self.settings, seed=self.seed)

    def to_yaml(self) -> str:
        """All of it, as it is read again."""
        top = [f"# isotherm {isotherm.__version__}: isotherm train --config THIS --output RUN"]
        top += [as_line(key, getattr(self, key)) for key in TOP]
        blocks = {MODEL: self.settings, TRAINING: self.training}
        lines = [
            line
            for name, block in blocks.items()
            for line in ("", f"{name}:", *(f"  {as_line(key, value)}" for key, value in block.items()))
        ]
        return "\n".join([*top, *lines]) + "\n"


def as_line(key: str, value: Any) -> str:
    """A key and its value in YAML, on one line."""
    is_list = isinstance(value, (list, tuple))
    text = yaml.safe_dump({key: list(value) if is_list else value}, default_flow_style=None if is_list else False)
    return text.strip()


def configured(words: Sequence[str], data: str | None, base: Mapping[str, Any]) -> Configuration:
    """What was asked for, checked.

    Args:
        words: The model's name, or none if `base` has it, and then key=value; a key that the model and the training both
            have is written settings.key or training.key.
        data: From its option; None leaves that to `base`.
        base: What a file said, nested as `Configuration`; words come before it.

    Returns:
        With all defaults filled in.

    Raises:
        ValueError: An unknown key, with names that are near; a value of the wrong type; no model, or no data.
    """
    named = [word for word in words if "=" not in word]
    if len(named) > 1:
        msg = f"One model at a time: got {' and '.join(named)}. Settings are written key=value, without blanks."
        raise ValueError(msg)
    name = named[0] if named else base.get("model")
    if name is None:
        msg = f"A training needs a model: got none. Name one of {', '.join(MODELS)}, or pass a file with --config."
        raise ValueError(msg)
    form = form_of(check_choice(name, "MODEL", MODELS))
    asked: dict[str, Any] = {**base, "model": name, **({"data": data} if data is not None else {})}
    for part in (MODEL, TRAINING):
        if not isinstance(asked.setdefault(part, {}), Mapping):
            msg = f"`{part}` must be a block of keys and values: got {asked[part]!r}. See --print-config."
            raise ValueError(msg)
        asked[part] = dict(asked[part])
    for word in (word for word in words if "=" in word):
        key, _, text = word.partition("=")
        part, key = place(key.strip(), form)
        (asked if part == "" else asked[part])[key] = as_value(text)
    try:
        return Configuration(**form.model_validate(asked).model_dump())
    except pydantic.ValidationError as error:
        raise ValueError(" ".join(in_words(each, form) for each in error.errors())) from None


def form_of(model: str) -> type[pydantic.BaseModel]:
    """The form that a configuration of a model has to fill in, made from the signatures of model and training."""
    strict = pydantic.ConfigDict(extra="forbid", protected_namespaces=())
    constructor = inspect.signature(MODELS[model]).parameters
    known = vars(inspect.getmodule(MODELS[model]))
    chosen = {
        name: (plain, ... if each.default is inspect.Parameter.empty else each.default)
        for name, each in constructor.items()
        if name not in ELSEWHERE and (plain := plain_type(each.annotation, known, each.default)) is not None
    }
    hints = typing.get_type_hints(Training)
    trained = {
        each.name: (careful(hints[each.name]), ... if each.default is MISSING else each.default)
        for each in fields(Training)
        if each.name not in ELSEWHERE
    }
    create: Any = pydantic.create_model  # its arguments are the fields
    settings = create(f"{MODELS[model].__name__}Settings", __config__=strict, **chosen)
    training = create("TrainingSettings", __config__=strict, **trained)
    return create(
        "Configuration",
        __config__=strict,
        model=(typing.Literal[model], model),
        data=(str, ...),
        seed=(careful(int), 0),
        settings=(settings, pydantic.Field(default_factory=settings)),
        training=(training, pydantic.Field(default_factory=training)),
    )


def plain_type(annotation: Any, known: Mapping[str, Any], default: Any) -> Any:
    """What of an annotation can be written in a file: numbers, names, lists of them; None where nothing can."""
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, dict(known))  # source of this package, as typing.get_type_hints does it
        except NameError:  # imported for type checkers only: what stands there by default tells as much
            return careful(type(default)) if type(default) in PLAIN[:-1] else None
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(annotation) if is_plain(part)]
        if all(part is type(None) for part in parts):
            return None
        return careful(typing.Union[tuple(parts)])  # noqa: UP007 - made from a tuple
    return careful(annotation) if is_plain(annotation) else None


def is_plain(annotation: Any) -> bool:
    """Whether values of a type can be written in a file."""
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return True
    if origin in (Sequence, tuple, list):
        return all(each is ... or is_plain(each) for each in typing.get_args(annotation))
    return annotation in PLAIN


def careful(annotation: Any) -> Any:
    """The same type, but True is no number, and 64,64 is a list."""
    parts = typing.get_args(annotation) or (annotation,)
    if typing.get_origin(annotation) in (Sequence, tuple, list):
        return typing.Annotated[annotation, pydantic.BeforeValidator(as_list)]
    if bool not in parts and (int in parts or float in parts):
        return typing.Annotated[annotation, pydantic.BeforeValidator(refuse_truth)]
    return annotation


def as_list(value: Any) -> Any:
    """64,64 and 64 as lists."""
    if isinstance(value, str):
        return [each for each in value.split(",") if each.strip()]
    return [value] if isinstance(value, (int, float)) else value


def refuse_truth(value: Any) -> Any:
    """Numbers only."""
    if isinstance(value, bool):
        msg = "a number is expected"
        raise ValueError(msg)  # a TypeError would not be among what pydantic collects
    return value


def as_value(text: str) -> Any:
    """A value as it is typed: YAML, with none for nothing."""
    try:
        return None if text.strip().lower() == "none" else yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def keys_of(form: type[pydantic.BaseModel]) -> dict[str, list[str]]:
    """Every key, with the parts of the form that have it."""
    found: dict[str, list[str]] = {}
    for part in ("", MODEL, TRAINING):
        inner = form if part == "" else typing.cast("Any", form.model_fields[part].annotation)
        for key in inner.model_fields:
            if key not in (MODEL, TRAINING):
                found.setdefault(key, []).append(part)
    return found


def place(key: str, form: type[pydantic.BaseModel]) -> tuple[str, str]:
    """Where a key belongs: the part of the form ("" for the top) and its name there.

    Args:
        key: As it is typed, with or without its part.
        form: That of the model.

    Returns:
        Part, name.

    Raises:
        ValueError: No part has it, or more than one.
    """
    part, dot, name = key.rpartition(".")
    if dot and part in (MODEL, TRAINING):
        return part, name
    parts = keys_of(form).get(key)
    if parts is None:
        raise ValueError(unknown(key, form))
    if len(parts) > 1:
        both = " or ".join(f"{part}.{key}" for part in parts)
        msg = f"`{key}` must say whose it is: the model and the training both have one. Write {both}."
        raise ValueError(msg)
    return parts[0], key


def unknown(key: str, form: type[pydantic.BaseModel]) -> str:
    """What to say of a key that nothing has."""
    keys = keys_of(form)
    if key in keys:
        return f"`{key}` stands in another place: write it under {' or '.join(part or 'no heading' for part in keys[key])}."
    near = difflib.get_close_matches(key.rpartition(".")[2], keys, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"There are {', '.join(keys)}."
    return f"`{key}` is no setting of {form.model_fields['model'].default} or of its training. {hint}"


def in_words(error: Any, form: type[pydantic.BaseModel]) -> str:
    """One complaint of pydantic as expected, got, what to do."""
    key = ".".join(str(each) for each in error["loc"] if isinstance(each, str))
    if error["type"] == "extra_forbidden":
        return unknown(key, form)
    if key == "data" and error["type"] == "missing":
        return "A training needs data: got none. Pass --data digits, iris, 2d:NAME, a .npy file or a folder."
    if error["type"] == "missing":
        return f"`{key}` must be given: it has no default. Write {key.rpartition('.')[2]}=VALUE."
    expected = error["msg"].removeprefix("Value error, ")
    return f"`{key}` is not right: {expected[0].lower()}{expected[1:]}; got {error['input']!r}. See --print-config for all keys and defaults."


def read_yaml(path: Path) -> dict[str, Any]:
    """What a configuration file says, unchecked but for being a block of keys and values.

    Args:
        path: The file.

    Returns:
        Its content.

    Raises:
        ValueError: It is not YAML, or not such a block.
        FileNotFoundError: There is none.
    """
    if not path.is_file():
        msg = f"{path} must be a file: there is none. Check the path; --print-config writes one to start from."
        raise FileNotFoundError(msg)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"{path} must be YAML: {' '.join(str(error).split())}. See --print-config for its form."
        raise ValueError(msg) from error
    if not isinstance(content, dict):
        msg = f"{path} must hold keys and values: got {type(content).__name__}. See --print-config for its form."
        raise ValueError(msg)
    return content
