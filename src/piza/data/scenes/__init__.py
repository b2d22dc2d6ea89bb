"""Synthetic street scenes with sentences that are checked to name exactly one thing."""

from .language import expressions, phrases
from .objects import Expression, Scene, SceneObject
from .scene import render
from .write import write

__all__ = ["Expression", "Scene", "SceneObject", "expressions", "phrases", "render", "write"]
