"""Pictures of a layout, a plan and a split: for notebooks, and as one HTML page.

:mod:`engine.reporter.figures` draws, :mod:`engine.reporter.page` puts figures on a page,
:mod:`engine.reporter.story` says which and with what words. All need Bokeh (``pip install
'evensplit[report]'``), which nothing else imports.
"""

from __future__ import annotations

from engine.reporter.story import make_report

__all__ = ["make_report"]
