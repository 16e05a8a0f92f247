"""The gallery over HTTP: an interface for programs and a page for people.

`create_app` makes the application around an open gallery; `Settings` says who may ask for what.
"""

from passerby.serve.app import create_app
from passerby.serve.settings import Settings

__all__ = ["Settings", "create_app"]
