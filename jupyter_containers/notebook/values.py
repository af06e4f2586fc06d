"""What a verb's result is as a value of the notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_containers.commands import results

if TYPE_CHECKING:
    from jupyter_containers.events import EventSink


def value_of(result: results.Result) -> Any:  # noqa: PLR0911 - one per kind of result
    """What a verb that lists, runs or makes something returns in a notebook; None where there is nothing to show."""
    match result:
        case results.Ran():
            return result.result
        case results.Started():
            return result.container
        case results.Fetched() | results.Built():
            return result.image
        case results.Report():
            return result.report
        case results.Info():
            return result.info
        case results.Lines():
            return list(result.lines) or None
        case results.Ended():
            return result.exit_code
        case results.Documents():
            return result.documents[0] if len(result.documents) == 1 else list(result.documents)
        case results.Stepped():
            from jupyter_containers.notebook.stages import Stages  # noqa: PLC0415 - seldom asked for

            return Stages(result)
        case results.Page():
            from jupyter_containers.notebook.pages import Page  # noqa: PLC0415 - few verbs give one

            return Page(result)
        case results.Grids():
            return {table.noun: _grid(table) for table in result.grids}
        case _:
            return _rows(result)


def _rows(result: results.Result) -> Any:
    """A table as a DataFrame."""
    match result:
        case results.Happenings(past=past) if past is not None:
            from jupyter_containers.notebook import frames  # noqa: PLC0415 - pandas is slow to import

            return frames.happenings(past)
        case results.Table():
            from jupyter_containers.notebook import frames  # noqa: PLC0415 - pandas is slow to import

            return frames.table(result)
        case results.Grid():
            return _grid(result)
        case _ if isinstance(result, results.Listing):
            if result.quiet:
                return _ids(result)
            from jupyter_containers.notebook import frames  # noqa: PLC0415 - pandas is slow to import

            return frames.of(result)
        case _:
            return None


def _grid(table: results.Grid) -> Any:
    if table.quiet:
        return table.names
    from jupyter_containers.notebook import frames  # noqa: PLC0415 - pandas is slow to import

    frame = frames.grid(table)
    if table.subject is not None:
        from jupyter_containers.notebook.drawing.subjects import draw  # noqa: PLC0415 - drawn on use

        frame.drawing = draw(table.subject)
    return frame


def _ids(listing: results.Listing) -> list[str]:
    if isinstance(listing, results.LayerListing):
        return [str(row.digest) for row in listing.rows]
    if isinstance(listing, results.VolumeListing):
        return [row.name for row in listing.rows]
    if isinstance(listing, results.ChangeListing):
        return [row.path for row in listing.rows]
    return list(dict.fromkeys(str(row.id) for row in listing.rows if row.id is not None))


def follow(log: results.Log, sink: EventSink) -> str:
    """Show a log as it comes, and give it as text."""
    kept: list[bytes] = []
    for output in log.output:
        kept.append(output.data)
        sink(output)
    return b"".join(kept).decode(errors="replace")
