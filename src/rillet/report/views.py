"""Registers how all records are shown."""

from rillet.report import analysis_views as analysis_views
