"""JupyterLab in a real browser: one server for all tests, one page for a module, a notebook and a kernel for a test."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from tests.conftest import FAILED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Locator, Page

    from jupyter_containers.engine import Engine

TIMEOUT = 90.0
CHROMIUM = ("chromium", "chromium-browser")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
)
PICTURES = Path(__file__).parents[2] / "docs" / "images"
FIRST = """\
import os
os.environ["JUPYTER_CONTAINERS_ROOT"] = {root!r}
%load_ext jupyter_containers
from jupyter_containers.notebook import widgets
print("loaded")"""


@dataclass(frozen=True)
class Server:
    """A JupyterLab with a token, in a directory of its own."""

    url: str
    token: str
    directory: Path

    def request(self, method: str, path: str, body: object = None) -> Any:
        """Ask its API."""
        request = urllib.request.Request(
            f"{self.url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            text = answer.read()
        return json.loads(text) if text else None


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser of the system."""
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("chromium is not installed")
    pytest.importorskip("playwright", reason="playwright is not installed")
    return found


@pytest.fixture(scope="session")
def server(chromium: str) -> Iterator[Server]:  # noqa: ARG001 - no server without a browser
    """JupyterLab on a free port."""
    place = Path(tempfile.mkdtemp(prefix="jcb"))
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    made = Server(f"http://127.0.0.1:{port}/", secrets.token_hex(16), place / "notebooks")
    made.directory.mkdir()
    page_config = place / "config" / "labconfig" / "page_config.json"
    page_config.parent.mkdir(parents=True)
    announcements = {"@jupyterlab/apputils-extension:announcements": True}
    page_config.write_text(json.dumps({"disabledExtensions": announcements}))
    environment = os.environ | {
        "HOME": str(place),
        "IPYTHONDIR": str(place / "ipython"),
        "JUPYTER_CONFIG_DIR": str(place / "config"),
        "JUPYTER_DATA_DIR": str(place / "data"),
        "JUPYTER_RUNTIME_DIR": str(place / "run"),
        "JUPYTER_TOKEN": made.token,
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    options = (
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        "--expose-app-in-browser",
        "--ServerApp.port_retries=0",
    )
    command = [sys.executable, "-m", "jupyterlab", *options, f"--port={port}", f"--ServerApp.root_dir={made.directory}"]
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=place, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        _await_answer(made, process, place / "log")
        yield made
    finally:
        process.terminate()
        process.wait(TIMEOUT)
        shutil.rmtree(place, ignore_errors=True)


def _await_answer(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            server.request("GET", "api/status")
            return
        except (urllib.error.URLError, OSError):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)


@pytest.fixture(scope="module")
def page(server: Server, chromium: str) -> Iterator[Page]:
    """A page with JupyterLab."""
    from playwright.sync_api import sync_playwright

    profile = tempfile.mkdtemp(prefix="jcb")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=chromium,
            headless=True,
            chromium_sandbox=False,
            args=list(FLAGS),
            viewport={"width": 1100, "height": 760},
            reduced_motion="reduce",
        )
        context.set_default_timeout(TIMEOUT * 1000)
        opened = context.pages[0]
        opened.goto(f"{server.url}lab?token={server.token}&reset")
        _await_lab(opened)
        yield opened
        context.close()
    shutil.rmtree(profile, ignore_errors=True)


def _await_lab(page: Page) -> None:
    page.wait_for_function("window.jupyterapp && window.jupyterapp.started")
    page.evaluate("async () => { await window.jupyterapp.restored; }")


class Notebook:
    """A notebook that is open in the page, alone."""

    def __init__(self, page: Page, server: Server, name: str) -> None:
        self.page = page
        self.server = server
        self.name = name

    def open(self) -> None:
        """Open it and wait for its kernel."""
        self.page.evaluate(
            """async (path) => {
                const app = window.jupyterapp;
                if (app.shell.leftCollapsed === false) app.shell.collapseLeft();
                const widget = await app.commands.execute('docmanager:open', {path, factory: 'Notebook'});
                await widget.context.ready;
                await widget.sessionContext.ready;
                await widget.sessionContext.session.kernel.info;
                app.shell.activateById(widget.id);
            }""",
            self.name,
        )

    def command(self, name: str) -> None:
        """Run a command of JupyterLab; it does not wait for a kernel."""
        self.page.evaluate("(name) => { void window.jupyterapp.commands.execute(name); }", name)

    def run(self) -> None:
        """Run all cells, and wait until the last one has ended."""
        self.start()
        self.idle()

    def start(self) -> None:
        """Run all cells."""
        self.command("notebook:run-all-cells")

    def idle(self) -> None:
        """Wait until all cells have ended."""
        self.page.wait_for_function(
            """() => {
                const panel = document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden)');
                const prompts = [...panel.querySelectorAll('.jp-CodeCell .jp-InputArea-prompt')];
                return prompts.length && prompts.every((each) => /\\[\\d+\\]/.test(each.textContent));
            }"""
        )

    def cell(self, number: int) -> Locator:
        """A code cell, counted from 0."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell").nth(number)

    def widget(self, label: str) -> Locator:
        """A widget by its label."""
        return self.page.locator(f".jp-NotebookPanel:not(.lm-mod-hidden) section.jc-widget[aria-label='{label}']").first

    def show(self, heading: str) -> None:
        """Scroll to a heading, which is at the top then."""
        found = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)").get_by_role("heading", name=heading).first
        found.evaluate(
            """async (heading) => {
                const cell = heading.closest('.jp-Cell');
                for (let still = 0, at = NaN; still < 5; ) {  // cells that come into view get their height only then
                    cell.scrollIntoView({block: 'start'});
                    await new Promise((done) => setTimeout(done, 50));
                    const now = cell.getBoundingClientRect().top;
                    still = now === at ? still + 1 : 0;
                    at = now;
                }
            }"""
        )

    def save(self) -> Any:
        """Save it; what is in the file."""
        self.page.evaluate(
            """async () => {
                const panel = [...window.jupyterapp.shell.widgets('main')].find((each) => each.sessionContext);
                await panel.context.save();
            }"""
        )
        return nbformat.read(self.server.directory / self.name, as_version=4)

    def reload(self) -> None:
        """Load the whole page again, as a person does with F5, and open this notebook again."""
        self.page.reload()
        _await_lab(self.page)
        self.open()

    def restart(self) -> None:
        """Restart the kernel, as the toolbar does when it has asked."""
        self.page.evaluate(
            """async () => {
                const panel = [...window.jupyterapp.shell.widgets('main')].find((each) => each.sessionContext);
                await panel.sessionContext.restartKernel();
            }"""
        )

    def close(self) -> None:
        """End the kernel and close it."""
        for session in self.server.request("GET", "api/sessions"):
            self.server.request("DELETE", f"api/sessions/{session['id']}")
        self.page.evaluate(
            """async () => {
                const app = window.jupyterapp;
                for (const each of document.querySelectorAll('.jp-Dialog .jp-mod-accept')) each.click();
                for (const widget of [...app.shell.widgets('main')]) {
                    if (widget.context?.model) widget.context.model.dirty = false;
                    widget.dispose();
                }
            }"""
        )


@pytest.fixture
def open_notebook(
    page: Page, server: Server, engine: Engine, store_root: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Notebook]]:
    """``open_notebook("cell", another)``, texts or cells: its first cell loads the extension, on the test's store."""
    engine.images.pull("starter")
    opened: list[Notebook] = []

    def open_one(*cells: str | nbformat.NotebookNode, name: str = "") -> Notebook:
        name = name or f"n{secrets.token_hex(4)}.ipynb"
        sources = (FIRST.format(root=str(store_root)), *cells)
        cells_made = [nbformat.v4.new_code_cell(each) if isinstance(each, str) else each for each in sources]
        document = nbformat.v4.new_notebook(cells=cells_made)
        document.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(document, server.directory / name)
        notebook = Notebook(page, server, name)
        opened.append(notebook)
        notebook.open()
        return notebook

    yield open_one
    if request.node.stash.get(FAILED, False):
        where = Path(tempfile.gettempdir()) / f"{request.node.name}.png"
        page.screenshot(path=where)
        request.node.add_report_section("teardown", "what the page showed", str(where))
    for notebook in opened:
        notebook.close()


@pytest.fixture
def picture(page: Page, pytestconfig: pytest.Config) -> Callable[..., Path]:
    """``picture("name", locator)``: a screenshot; in the guide's pictures when these are to be made anew."""
    keep = os.environ.get("JUPYTER_CONTAINERS_PICTURES")
    directory = Path(keep) if keep else Path(str(pytestconfig.rootpath)) / ".pytest_cache" / "pictures"

    def take(name: str, what: Locator | None = None) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{name}.png"
        data = (what or page).screenshot(animations="disabled")
        path.write_bytes(data)
        assert data.startswith(b"\x89PNG")
        return path

    return take
