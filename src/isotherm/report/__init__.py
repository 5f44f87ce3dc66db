"""What came out, and may I trust it?  Files, figures, summaries and a page for a person to read.

Read in this order: `digits` and `temperature` (numbers as words), `style`, `files`, `figures`, `summary`, `page`. All of
it needs the extra `isotherm[cli]`, asked for only when a figure or a page is made.
"""

from .files import check_outputs as check_outputs
from .files import save_figure as save_figure
from .files import write_json as write_json
from .page import write_report as write_report
from .page import write_story as write_story
from .summary import summarise as summarise
from .summary import summary_table as summary_table
from .summary import versions as versions

__all__ = [
    "check_outputs",
    "save_figure",
    "summarise",
    "summary_table",
    "versions",
    "write_json",
    "write_report",
    "write_story",
]
