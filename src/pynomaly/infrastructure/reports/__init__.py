"""Reports as offline HTML and Markdown, and plots as PNG."""

from pynomaly.infrastructure.reports.html import HtmlReports
from pynomaly.infrastructure.reports.plots import MatplotlibPlots

__all__ = ["HtmlReports", "MatplotlibPlots"]
