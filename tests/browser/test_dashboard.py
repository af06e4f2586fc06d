"""The dashboard of containers, in JupyterLab, by mouse and by keyboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Locator

    from jupyter_containers.engine import Engine
    from tests.browser.conftest import Notebook

pytestmark = pytest.mark.root


def row(board: Locator, name: str) -> Locator:
    return board.locator("tr", has=board.page.get_by_role("rowheader", name=name, exact=True))


def test_containers_are_seen_started_stopped_and_removed(
    engine: Engine, open_notebook: Callable[..., Notebook], picture: Callable[..., Path]
) -> None:
    talk = ["sh", "-c", "echo ready; echo late >&2; exec sleep 1000"]
    engine.containers.run("starter", talk, detach=True, name="web", publish=["38380:80"], stop_timeout=0)
    engine.containers.run("starter", ["true"], name="done")
    notebook = open_notebook("widgets.dashboard()")
    notebook.run()
    board = notebook.widget("Containers")
    web = row(board, "web")
    web.get_by_text("● running").wait_for()
    web.get_by_text("KiB").or_(web.get_by_text("MiB")).wait_for()
    web.get_by_role("button", name="Show the log of web").click()
    board.get_by_role("log").get_by_text("ready").wait_for()
    picture("widgets-dashboard", board)
    board.get_by_role("button", name="Close the log of web").click()
    assert board.get_by_role("log").count() == 0
    web.get_by_role("button", name="Stop web").click()
    board.get_by_text("web was stopped").wait_for()
    web.get_by_text("○ exited").wait_for()
    engine.containers.start("web")  # by another process than the kernel
    web.get_by_text("● running").wait_for()
    web.get_by_role("button", name="Remove web").click()
    web.get_by_text("web runs. Kill and remove it?").wait_for()
    web.get_by_role("button", name="Keep web").click()
    assert {each.name for each in engine.containers.list(all=True)} == {"web", "done"}
    web.get_by_role("button", name="Remove web").click()
    web.get_by_role("button", name="Remove web now").click()
    web.wait_for(state="detached")
    assert {each.name for each in engine.containers.list(all=True)} == {"done"}


def test_a_page_that_asks_again_loses_what_is_gone_by_then(
    engine: Engine, open_notebook: Callable[..., Notebook], tmp_path: Path
) -> None:
    """A page says hello until it is answered, and what waited for a running cell comes late."""
    engine.containers.run("starter", ["sleep", "1000"], detach=True, name="short", stop_timeout=0)
    seen = tmp_path / "seen"
    late = f"""import os, time
from jupyter_containers import Engine
while not os.path.exists({str(seen)!r}): time.sleep(0.05)
with Engine() as engine, board._guard:
    engine.containers.remove("short", force=True)
    board.greet("")"""
    notebook = open_notebook("board = widgets.dashboard()\nboard", late)
    notebook.start()
    board = notebook.widget("Containers")
    row(board, "short").wait_for()
    seen.touch()
    board.get_by_text("There are no containers.").wait_for()
    row(board, "short").wait_for(state="detached")
    assert row(board, "short").count() == 0


def test_a_dashboard_works_by_keyboard_while_a_cell_runs(
    engine: Engine, open_notebook: Callable[..., Notebook]
) -> None:
    engine.containers.run("starter", ["sleep", "1000"], detach=True, name="web", stop_timeout=0)
    notebook = open_notebook("widgets.dashboard()", "import time\nprint('busy', flush=True)\ntime.sleep(1000)")
    notebook.start()
    notebook.cell(2).get_by_text("busy").wait_for()
    board = notebook.widget("Containers")
    web = row(board, "web")
    web.get_by_text("● running").wait_for()
    board.get_by_role("searchbox").focus()
    press = board.page.keyboard.press
    for _ in range(4):  # the check box, then the buttons of the first row: stop, logs, exec
        press("Tab")
    press("Enter")
    board.get_by_role("textbox", name="Command to run in web").wait_for()
    board.page.keyboard.type("echo 'two  spaces'")
    press("Enter")
    board.get_by_text("two  spaces", exact=True).wait_for()
    board.get_by_text("echo 'two  spaces': exit status 0").wait_for()
    press("Escape")
    assert board.get_by_label("What it printed").count() == 0
    web.get_by_role("button", name="Stop web").focus()
    for _ in range(2):
        press("d")  # which deletes a cell where JupyterLab hears it
    assert notebook.page.locator(".jp-CodeCell").count() == 3
    press("Space")
    web.get_by_text("○ exited").wait_for()
    assert [each.state for each in engine.containers.list(all=True)] == ["exited"]
    web.get_by_role("button", name="Remove web").focus()
    press("Enter")
    web.get_by_role("alertdialog").wait_for()
    press("Escape")
    web.get_by_role("button", name="Start web").wait_for()
    notebook.command("notebook:interrupt-kernel")
    notebook.cell(2).get_by_text("KeyboardInterrupt").first.wait_for()


def test_a_dashboard_after_a_reload_a_restart_and_in_the_saved_notebook(
    engine: Engine, open_notebook: Callable[..., Notebook]
) -> None:
    engine.containers.run("starter", ["sleep", "1000"], detach=True, name="web", stop_timeout=0)
    notebook = open_notebook("widgets.dashboard()")
    notebook.run()
    row(notebook.widget("Containers"), "web").get_by_text("● running").wait_for()
    saved = notebook.save().cells[1].outputs[0].data
    assert "<caption>Containers, " in saved["text/html"]
    assert "running" in saved["text/html"]
    assert "<script" not in saved["text/html"]
    assert "web" in saved["text/plain"]
    notebook.reload()
    board = notebook.widget("Containers")
    row(board, "web").get_by_text("● running").wait_for()
    notebook.restart()
    board.get_by_text("Disconnected: the kernel was restarted or has ended. Run the cell again.").wait_for()
    assert row(board, "web").get_by_role("button", name="Stop web").is_disabled()
    notebook.run()
    again = notebook.widget("Containers")
    row(again, "web").get_by_role("button", name="Stop web").click()
    row(again, "web").get_by_text("○ exited").wait_for()
