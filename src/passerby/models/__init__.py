"""Towers, the dual encoder made of two of them, and the checkpoint folder that carries it."""
