"""A terminal into a container, in JupyterLab."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.leaks import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Locator

    from jupyter_containers.engine import Engine
    from tests.browser.conftest import Notebook

pytestmark = pytest.mark.root


def shown(terminal: Locator, text: str) -> None:
    """Wait for a text on the screen; xterm.js draws each row as an element."""
    terminal.locator(".xterm-rows").get_by_text(text).first.wait_for()


def test_a_shell_in_a_container_by_keyboard(
    engine: Engine, open_notebook: Callable[..., Notebook], picture: Callable[..., Path]
) -> None:
    engine.containers.run("starter", ["sleep", "1000"], detach=True, name="web")
    notebook = open_notebook("%container -o shell exec -it web sh;\nshell", "print('result', shell.result.exit_code)")
    notebook.cell(0).locator(".cm-content").click()
    for _ in range(2):
        notebook.page.keyboard.press("Shift+Enter")
    terminal = notebook.widget("Terminal: exec -it web sh")
    shown(terminal, "# ")
    terminal.locator(".xterm-screen").click()
    keys = notebook.page.keyboard
    keys.type("printf '\\033[32mgr%s\\033[0m \\342\\234\\223\\n' een; stty size\n")
    shown(terminal, "green ✓")
    columns = terminal.locator(".xterm-screen").evaluate("(each) => each.clientWidth > 400")
    assert columns
    keys.type("for n in 1 2 3; do echo line-$n; done; ls --color /\n")
    shown(terminal, "line-3")
    picture("widgets-terminal", terminal)
    keys.type("seq 1 200000; echo the-end-$((6*7))\n")
    shown(terminal, "the-end-42")
    keys.type("echo now-$((1+2)); sleep 1000\n")
    shown(terminal, "now-3")
    keys.press("Control+c")
    keys.type("echo after-$((1+1))\n")
    shown(terminal, "after-2")
    notebook.save()
    notebook.reload()
    terminal = notebook.widget("Terminal: exec -it web sh")
    shown(terminal, "after-2")
    terminal.locator(".xterm-screen").click()
    keys.press("F6")
    assert terminal.get_by_role("button", name="Detach").evaluate("(each) => each === document.activeElement")
    terminal.locator(".xterm-screen").click()
    keys.type("exit 3\n")
    terminal.get_by_text("Ended: exit status 3").wait_for()
    notebook.cell(2).locator(".cm-content").click()
    keys.press("Control+Enter")
    notebook.cell(2).get_by_text("result 3").wait_for()


def test_a_container_with_a_terminal_is_detached_and_goes_on(
    engine: Engine, open_notebook: Callable[..., Notebook]
) -> None:
    notebook = open_notebook("%container run -it --name box starter sh", "import time\ntime.sleep(1000)")
    notebook.start()
    terminal = notebook.widget("Terminal: run -it starter sh")
    shown(terminal, "# ")
    terminal.locator(".xterm-screen").click()
    notebook.page.keyboard.type("hostname; echo up-$((2+3))\n")  # while a cell runs
    shown(terminal, "up-5")
    terminal.get_by_role("button", name="Detach").click()
    terminal.get_by_text("Ended: detached: box goes on").wait_for()
    assert [(each.name, each.state) for each in engine.containers.list()] == [("box", "running")]


def test_nothing_is_left_when_the_kernel_is_killed(engine: Engine, open_notebook: Callable[..., Notebook]) -> None:
    notebook = open_notebook("%container run -it --rm starter sh", "import os\nos.kill(os.getpid(), 9)")
    notebook.cell(0).locator(".cm-content").click()
    for _ in range(2):
        notebook.page.keyboard.press("Shift+Enter")
    terminal = notebook.widget("Terminal: run -it starter sh")
    shown(terminal, "# ")
    assert len(engine.containers.list()) == 1
    notebook.cell(2).locator(".cm-content").click()
    notebook.page.keyboard.press("Control+Enter")
    terminal.get_by_text("Disconnected: ").wait_for()
    notebook.page.locator(".jp-Dialog").get_by_role("button", name="Ok").click()  # it lies over what comes next
    wait_until(lambda: not engine.containers.list(all=True), seconds=60, what="the end of the container")
