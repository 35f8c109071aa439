"""Guide the attention of an image classifier with yes-no answers."""

from crayon.utils.version import __version__ as __version__
