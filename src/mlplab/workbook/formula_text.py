"""Formulas as people write them, in LaTeX or as text, read as SymPy expressions. Nothing is evaluated as a program.

SymPy's own readers were tried on the formulas of the chapter: that of text runs what it is given, and takes `f(0)` for
a new function; those of LaTeX read e as a symbol, and cannot read \\tanh^2(x), or read \\tanh x in four ways.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

from mlplab.errors import InvalidInput, UnknownName

LONGEST = 2_000  # letters: more is no formula that a person wrote
DEEPEST = 60  # brackets within brackets
GREEK = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau phi varphi chi "
    "psi omega"
).split()
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": sp.exp, "log": sp.log, "ln": sp.log, "sqrt": sp.sqrt, "abs": sp.Abs, "sign": sp.sign, "sgn": sp.sign,
    "max": sp.Max, "min": sp.Min, "sin": sp.sin, "cos": sp.cos, "tan": sp.tan, "sinh": sp.sinh, "cosh": sp.cosh,
    "tanh": sp.tanh, "erf": sp.erf, "sigmoid": lambda x: 1 / (1 + sp.exp(-x)), "relu": lambda x: sp.Max(0, x),
    "softplus": lambda x: sp.log(1 + sp.exp(x)), "heaviside": sp.Heaviside,
}  # fmt: skip
SEVERAL = ("max", "min")  # of any number of arguments
CONSTANTS = {"pi": sp.pi, "e": sp.E, "π": sp.pi}
UNICODE = {"·": "*", "×": "*", "−": "-", "÷": "/", "²": "^2", "³": "^3", "√": "sqrt", "|": "|"} | {
    letter: f" {name} "
    for letter, name in zip(
        "αβγδεζηθικλμνξρστφχψω", [g for g in GREEK if g not in ("varepsilon", "varphi")], strict=True
    )
}
TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)|(?P<command>\\[A-Za-z]+|\\[^A-Za-z])"
    r"|(?P<name>[A-Za-z_][A-Za-z_0-9]*'?)|(?P<sign>\*\*|[-+*/^(){}\[\],|_=<>!&%]))"
)
SPACES = (
    r"\,",
    r"\;",
    r"\:",
    r"\!",
    r"\ ",
    r"\quad",
    r"\left",
    r"\right",
    r"\big",
    r"\Big",
    r"\displaystyle",
)
WRAPPERS = (r"\operatorname", r"\mathrm", r"\text", r"\mathbf", r"\boldsymbol", r"\bm")
OPERATORS = {
    r"\cdot": "*",
    r"\times": "*",
    r"\div": "/",
    r"\lvert": "|",
    r"\rvert": "|",
    r"\{": "(",
    r"\}": ")",
}


@dataclass(frozen=True)
class Token:
    """A piece of a formula: its kind, and what it says."""

    kind: str
    text: str


def read(text: str, symbols: Mapping[str, sp.Symbol]) -> sp.Expr:
    """The expression that a formula states.

    Arguments:
      symbols: by name; any other name is an error that names the nearest.

    Raises InvalidInput that says what cannot be read, and where.
    """
    if not isinstance(text, str):
        raise InvalidInput("the formula", "must be a text in quotes", text)
    if len(text) > LONGEST:
        raise InvalidInput("the formula", f"must have at most {LONGEST:,} letters", f"{len(text):,}")
    reader = _Reader(_tokens(text, symbols), symbols, text)
    found = reader.sum()
    reader.end()
    return sp.sympify(found)


def _tokens(text: str, symbols: Mapping[str, sp.Symbol]) -> list[Token]:
    is_latex = "\\" in text
    plain = "".join(UNICODE.get(letter, letter) for letter in text.strip().strip("$")).strip()
    tokens: list[Token] = []
    place = 0
    while place < len(plain):
        found = TOKEN.match(plain, place)
        if found is None or found.end() == place:
            if not plain[place:].strip():
                break
            raise InvalidInput("the formula", "must be one that can be read", plain[place : place + 20])
        place = found.end()
        kind = str(found.lastgroup)
        said = found[kind]
        if said in SPACES:
            continue
        if kind == "command":
            tokens += _of_command(said)
        elif kind == "name" and is_latex and said not in symbols and said.lower() not in FUNCTIONS:
            tokens += [Token("name", letter) for letter in said if letter != "'"]  # xy is x times y
        else:
            tokens.append(Token(kind, said))
    return _unwrapped(tokens)


def _of_command(said: str) -> list[Token]:
    if said in OPERATORS:
        return [Token("sign", OPERATORS[said])]
    if said in WRAPPERS or said in (r"\frac", r"\tfrac", r"\dfrac"):
        return [Token("command", "\\frac" if "frac" in said else "\\wrap")]
    return [Token("name", said[1:])]


def _unwrapped(tokens: list[Token]) -> list[Token]:
    r"""`\operatorname{sign}` as one name: its letters are no product."""
    made: list[Token] = []
    place = 0
    while place < len(tokens):
        if tokens[place] == Token("command", "\\wrap"):
            end = place + 2
            while end < len(tokens) and tokens[end].text != "}":
                end += 1
            made.append(Token("name", "".join(one.text for one in tokens[place + 2 : end])))
            place = end + 1
        else:
            made.append(tokens[place])
            place += 1
    return made


class _Reader:
    """By recursive descent: sums of products of powers of what stands alone."""

    def __init__(self, tokens: list[Token], symbols: Mapping[str, sp.Symbol], text: str) -> None:
        self._tokens = tokens
        self._symbols = symbols
        self._text = text
        self._place = 0
        self._depth = 0
        self._bars = 0

    def end(self) -> None:
        if self._place < len(self._tokens):
            rest = " ".join(token.text for token in self._tokens[self._place :])
            raise InvalidInput("the formula", "must be one expression", rest, "An equation has no place here")

    def sum(self) -> Any:
        self._depth += 1
        if self._depth > DEEPEST:
            raise InvalidInput("the formula", f"must have at most {DEEPEST} brackets in brackets", "more")
        found = self._product()
        while self._at("+", "-"):
            found = found + self._product() if self._take() == "+" else found - self._product()
        self._depth -= 1
        return found

    def _product(self) -> Any:
        if self._at("-", "+"):
            return -self._product() if self._take() == "-" else self._product()
        found = self._power()
        while True:
            if self._at("*", "/"):
                found = found * self._factor() if self._take() == "*" else found / self._factor()
            elif self._begins():  # 2x, x(1 - x)
                found = found * self._power()
            else:
                return found

    def _factor(self) -> Any:
        if self._at("-", "+"):
            return -self._factor() if self._take() == "-" else self._factor()
        return self._power()

    def _power(self) -> Any:
        base = self._alone()
        if self._at("^", "**"):
            self._take()
            return base ** self._exponent()
        return base

    def _exponent(self) -> Any:
        if self._at("-", "+"):
            return -self._exponent() if self._take() == "-" else self._exponent()
        return self._group() if self._at("{") else self._power()

    def _alone(self) -> Any:
        token = self._next()
        if token.kind == "number":
            return sp.Rational(token.text)
        if token == Token("command", "\\frac"):
            above = self._group()
            return above / self._group()
        if token.text in ("(", "{", "["):
            return self._until({"(": ")", "{": "}", "[": "]"}[token.text])
        if token.text == "|":
            self._bars += 1
            inner = self._until("|")
            self._bars -= 1
            return sp.Abs(inner)
        if token.kind == "name":
            return self._named(token.text)
        raise self._unreadable(token)

    def _named(self, name: str) -> Any:
        name = self._with_index(name)
        if name in self._symbols:
            return self._symbols[name]
        if name.lower() in FUNCTIONS or name == "sigma":
            return self._applied("sigmoid" if name == "sigma" else name.lower())
        if name in CONSTANTS:
            return CONSTANTS[name]
        remedy = f"Its symbols are {', '.join(self._symbols)}." if self._symbols else ""
        raise UnknownName("a name in the formula", name, [*self._symbols, *FUNCTIONS, *CONSTANTS], remedy)

    def _with_index(self, name: str) -> str:
        """x_1 and x_{12} are names."""
        if not self._at("_"):
            return name
        self._take()
        if self._at("{"):
            self._take()
            index = ""
            while not self._at("}"):
                index += self._next().text
            self._take()
        else:
            index = self._next().text
        return f"{name}_{index}" if f"{name}_{index}" in self._symbols else f"{name}{index}"

    def _applied(self, name: str) -> Any:
        power = None
        if self._at("^", "**"):  # tanh^2(x)
            self._take()
            power = self._exponent()
        if name == "sqrt" and self._at("["):
            raise InvalidInput("the formula", "must have square roots only", "another root", "Write x^(1/3)")
        if self._at("(", "{"):
            closing = {"(": ")", "{": "}"}[self._take()]
            arguments = [self.sum()]
            while self._at(","):
                self._take()
                arguments.append(self.sum())
            self._expect(closing)
        else:
            is_number = self._place < len(self._tokens) and self._tokens[self._place].kind == "number"
            arguments = [self._power()]  # tanh x
            if is_number and self._begins():  # tanh 2x
                arguments = [arguments[0] * self._power()]
        if len(arguments) != 1 and name not in SEVERAL:
            raise InvalidInput(f"{name} in the formula", "takes one argument", len(arguments))
        found = FUNCTIONS[name](*arguments)
        return found if power is None else found**power

    def _group(self) -> Any:
        if self._at("{"):
            self._take()
            return self._until("}")
        return self._alone()

    def _until(self, closing: str) -> Any:
        found = self.sum()
        self._expect(closing)
        return found

    def _begins(self) -> bool:
        if self._place >= len(self._tokens):
            return False
        token = self._tokens[self._place]
        # Within bars, one after an operand closes them.
        opening = ("(", "{", "[") if self._bars else ("(", "{", "[", "|")
        return token.kind in ("number", "name", "command") or token.text in opening

    def _at(self, *signs: str) -> bool:
        return self._place < len(self._tokens) and self._tokens[self._place].text in signs

    def _take(self) -> str:
        return self._next().text

    def _next(self) -> Token:
        if self._place >= len(self._tokens):
            raise InvalidInput("the formula", "must be whole", self._text, "It ends too early")
        self._place += 1
        return self._tokens[self._place - 1]

    def _expect(self, sign: str) -> None:
        token = self._next()
        if token.text != sign:
            raise InvalidInput("the formula", f"must have {sign} here", token.text)

    def _unreadable(self, token: Token) -> InvalidInput:
        return InvalidInput(
            "the formula", "must be one that can be read", token.text, f"In: {self._text.strip()}"
        )
