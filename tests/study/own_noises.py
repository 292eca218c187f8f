"""Noises that somebody registered in a module of their own, which workers must be told of."""

from __future__ import annotations

import os

from mlplab.engine.noises import NoiseKind, register


@register("deadly")
class Deadly(NoiseKind):
    """Ends the process that draws it, as a lack of memory does."""

    draws = "normals"

    def term(self, x, drawn):
        os._exit(1)


@register("gentle", shift=0.5)
class Gentle(NoiseKind):
    """A noise of somebody's own, which a worker must be told of."""

    draws = "normals"

    def term(self, x, drawn):
        return self.shift * drawn
