"""Loads encoders that others wrote: `my_module:factory` or `my_module:factory(width=4)`."""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, NoReturn, Self

from relabel.encoders.foreign import ForeignEncoder, called
from relabel.encoders.open_clip_loader import architectures
from relabel.encoders.protocol import EncoderLoader, StagedEncoder
from relabel.plugins import load_named
from schemas.encoders import EncoderSpec
from schemas.errors import EncoderError
from schemas.extras import is_installed, missing_extra

_OPTIONS: Final = ("device", "precision", "truncate_texts", "preprocess")  # that a factory may take


@dataclass(frozen=True)
class FactoryLoader(EncoderLoader):
    """Calls a factory by its name, in whatever process it is needed.

    An option of the command line that the factory's signature names is passed to it. Another one
    that was given is refused.
    """

    @classmethod
    def takes(cls, name: str) -> bool:
        """Whether it is a Python name with a colon, and no architecture of open_clip."""
        module, _, attribute = _target(name).partition(":")
        parts = f"{module}.{attribute}".split(".")
        return all(part.isidentifier() for part in parts) and module not in architectures()

    def __call__(self) -> ForeignEncoder:
        """The encoder, tried on two small frames."""
        encoder = self.for_texts(())
        encoder.probe()
        return encoder

    def for_texts(self, stored: Collection[EncoderSpec]) -> ForeignEncoder:
        """The encoder, untried on frames."""
        factory = self._factory()
        arguments = self._arguments(factory)
        subject = f"encoder {self.name}: the factory"
        return ForeignEncoder(self.name, called(subject, lambda: factory(**arguments)))

    def as_stored(self, spec: EncoderSpec) -> ForeignEncoder:
        """The encoder in the precision of a stored one, if the factory takes one.

        The device is that of the agent as well, so that a factory need not take it.
        """
        unmoved = "device" not in self._free(self._factory())
        return replace(self, device="cpu" if unmoved else self.device)._in_precision(
            spec.precision
        )()

    def as_loaded(self, encoder: StagedEncoder) -> Self:
        """As the protocol says, for the options that the factory takes."""
        return self.on_device_of(encoder)._in_precision(encoder.spec.precision)

    def _in_precision(self, precision: str) -> Self:
        taken = "precision" in self._free(self._factory())
        return replace(self, precision=precision) if taken else self

    def _factory(self) -> Callable[..., Any]:
        try:
            found = load_named(_target(self.name), "encoder", kind=EncoderError)
        except EncoderError as error:
            raise EncoderError(f"{error}{_near(self.name)}") from error
        if not callable(found):
            raise EncoderError(
                f"encoder {self.name}: expected a function or class that makes an encoder, got "
                f"{type(found).__name__} {found!r:.100}"
            )
        factory: Callable[..., Any] = found
        return factory

    def _arguments(self, factory: Callable[..., Any]) -> dict[str, Any]:
        """What was written between parentheses, and the options that the factory takes."""
        free = self._free(factory)
        defaults = {field.name: field.default for field in fields(EncoderLoader)}
        for option in _OPTIONS:
            if option not in free and getattr(self, option) != defaults[option]:
                self._refuse(option, factory)
        arguments = {**_given(self.name), **{name: getattr(self, name) for name in free}}
        try:
            if (signature := _signature(factory)) is not None:
                signature.bind(**arguments)
        except TypeError as error:
            raise EncoderError(
                f"encoder {self.name}: {error}; its factory is {_told(self.name, factory)}; "
                "arguments are written behind its name: 'module:factory(width=4)'"
            ) from error
        return arguments

    def _refuse(self, option: str, factory: Callable[..., Any]) -> NoReturn:
        """An option that was given is never left unused."""
        word = f"--{option.replace('_', '-')}"
        if option in _given(self.name):
            raise EncoderError(f"encoder {self.name}: {option} is given twice, also by {word}")
        raise EncoderError(
            f"encoder {self.name}: {word} means nothing to it, since its factory "
            f"{_told(self.name, factory)} takes no {option}; leave the option out"
        )

    def _free(self, factory: Callable[..., Any]) -> list[str]:
        """Options that the factory's signature names and the name's parentheses do not."""
        signature, given = _signature(factory), _given(self.name)
        named = {} if signature is None else signature.parameters
        return [option for option in _OPTIONS if option in named and option not in given]


def _target(name: str) -> str:
    """`module:factory`, without the arguments."""
    return name.partition("(")[0].rstrip()


def _given(name: str) -> Mapping[str, Any]:
    """The arguments in a name's parentheses; values are literals, and nothing is evaluated.

    Raises:
        EncoderError: anything else stands there.
    """
    if "(" not in name:
        return {}
    try:
        call = ast.parse(f"f({name.partition('(')[2]}", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError("not keyword arguments alone")
        pairs = [(keyword.arg, ast.literal_eval(keyword.value)) for keyword in call.keywords]
        if None in dict(pairs) or len(dict(pairs)) != len(pairs):
            raise ValueError("** is not known here, and a name stands once")
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise EncoderError(
            f"encoder {name}: expected 'module:factory(width=4, name=\"x\")', with names and plain "
            f"values (numbers, texts, True, None, lists, dicts), got {name.partition('(')[2]!r}"
        ) from error
    return {str(key): value for key, value in pairs}


def _signature(factory: Callable[..., Any]) -> inspect.Signature | None:
    """How a factory is called; None: it does not tell, as some functions written in C."""
    try:
        return inspect.signature(factory)
    except (ValueError, TypeError):
        return None


def _told(name: str, factory: Callable[..., Any]) -> str:
    """A factory as it is defined, such as `load(width=4)`."""
    return f"{_target(name).partition(':')[2]}{_signature(factory) or '(…)'}"


def _near(name: str) -> str:
    """A hint for what may be a misspelled architecture, which looks like a module's name."""
    if not is_installed("open_clip"):
        return f"; if it is a model of open_clip, {missing_extra('it', 'open_clip')}"
    near = difflib.get_close_matches(name.partition(":")[0], architectures(), n=5, cutoff=0.7)
    return f"; architectures of open_clip with a name like that: {', '.join(near)}" if near else ""
