"""What becomes of widgets when the page is loaded anew, the kernel is restarted, or the notebook is opened again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.engine import Engine
    from tests.browser.conftest import Notebook

pytestmark = pytest.mark.root

CELLS = ("%container -w logs web", "%container -w network graph", "%container -w layers starter", "%container -w stats")


def test_a_saved_notebook_opened_again_shows_the_static_forms(
    engine: Engine, open_notebook: Callable[..., Notebook]
) -> None:
    engine.containers.run("starter", ["sh", "-c", "echo ready; exec sleep 1000"], detach=True, name="web")
    notebook = open_notebook(*CELLS)
    notebook.run()
    notebook.save()
    notebook.close()
    notebook.open()
    panel = notebook.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    panel.get_by_text("Log of web, the last lines").wait_for()
    panel.get_by_role("img", name="Networks").wait_for()
    panel.get_by_role("img", name="Layers of starter").wait_for()
    panel.get_by_text("What containers use, 2").wait_for()
    assert panel.locator("section.jc-widget").count() == 0
    notebook.run()  # and all of them are there again
    for label in ("Log of web", "Networks", "Layers of starter", "Figures"):
        notebook.widget(label).wait_for()
    panel.get_by_text("What containers use, 2").wait_for(state="hidden")  # one view of a thing is enough
    assert not panel.get_by_text("Log of web, the last lines").is_visible()


def test_all_widgets_after_a_reload_and_a_restart(engine: Engine, open_notebook: Callable[..., Notebook]) -> None:
    engine.containers.run("starter", ["sh", "-c", "echo ready; exec sleep 1000"], detach=True, name="web")
    notebook = open_notebook(*CELLS)
    notebook.run()
    notebook.save()
    notebook.reload()
    shown = {
        "Log of web": "ready",
        "Networks": "interface of containers",
        "Layers of starter": "Layer 0",
        "Figures": "web: ",
    }
    for label, text in shown.items():
        notebook.widget(label).get_by_text(text).first.wait_for()
    notebook.restart()
    for label, text in shown.items():
        widget = notebook.widget(label)
        widget.get_by_text("Disconnected: the kernel was restarted or has ended. Run the cell again.").wait_for()
        assert widget.get_by_text(text).first.is_visible() or label == "Networks"  # what was seen last stays
        assert widget.locator("button:enabled, input:enabled, select:enabled").count() == 0
    notebook.run()
    for label, text in shown.items():
        notebook.widget(label).get_by_text(text).first.wait_for()


def test_a_cell_is_interrupted_and_widgets_go_on(engine: Engine, open_notebook: Callable[..., Notebook]) -> None:
    notebook = open_notebook("widgets.dashboard()", "%container run --rm --name long starter sleep 1000")
    notebook.start()
    board = notebook.widget("Containers")
    board.get_by_role("rowheader", name="long").wait_for()
    notebook.command("notebook:interrupt-kernel")
    notebook.cell(2).get_by_text("Interrupted: the container was ended and removed").wait_for()
    board.get_by_text("There are no containers.").wait_for()
    assert engine.containers.list(all=True) == []
    engine.containers.run("starter", ["sleep", "1000"], detach=True, name="next", stop_timeout=0)
    board.get_by_role("rowheader", name="next").wait_for()
