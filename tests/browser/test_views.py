"""Logs, figures, files and the form of a run, in JupyterLab."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.engine import Engine
    from tests.browser.conftest import Notebook

pytestmark = pytest.mark.root

TALK = """\
seq -f 'request %g: 200' 1 30000; echo 'request 30001: 404 <b>lost</b>' >&2
until [ -e /go ]; do sleep 0.1; done; echo 'request 30002: 404'
"""
FILES = r"mkdir -p /srv/site; printf '<h1>Hello</h1>\n' > /srv/site/index.html; ln -s site /srv/now; exec sleep 1000"


def test_a_log_is_searched_while_it_grows(
    engine: Engine, open_notebook: Callable[..., Notebook], picture: Callable[..., Path]
) -> None:
    engine.containers.run("starter", ["sh", "-c", TALK], detach=True, name="web")
    notebook = open_notebook("%container -w logs web")
    notebook.run()
    viewer = notebook.widget("Log of web")
    viewer.get_by_text("request 30001: 404 <b>lost</b>", exact=True).wait_for()  # as text
    assert viewer.locator(".jc-line").count() <= 5000
    viewer.get_by_role("searchbox").focus()
    notebook.page.keyboard.type("404")
    viewer.get_by_text("1 line with “404”").wait_for()
    engine.containers.exec("web", ["touch", "/go"])
    viewer.get_by_text("2 lines with “404”").wait_for()
    notebook.page.keyboard.press("Enter")
    viewer.get_by_text("1 of 2 lines with “404”").wait_for()
    viewer.get_by_role("button", name="Next line found").click()
    viewer.get_by_text("2 of 2 lines with “404”").wait_for()
    viewer.get_by_label("only these").check()
    assert viewer.locator(".jc-line:visible").all_text_contents() == [
        "request 30001: 404 <b>lost</b>",
        "request 30002: 404",
    ]
    viewer.get_by_text("The container has ended").wait_for()
    picture("widgets-logs", viewer)
    saved = notebook.save().cells[1].outputs[0].data
    assert "request 30001: 404 &lt;b&gt;lost" in saved["text/html"]
    notebook.reload()
    notebook.widget("Log of web").get_by_text("request 30002: 404").wait_for()


def test_what_containers_use_is_drawn(
    engine: Engine, open_notebook: Callable[..., Notebook], picture: Callable[..., Path]
) -> None:
    work = "while :; do head -c 2000000 /dev/zero > /tmp/some; sleep 0.2; done"
    engine.containers.run("starter", ["sh", "-c", work], detach=True, name="busy")
    engine.containers.run("starter", ["sleep", "1000"], detach=True, name="calm")
    notebook = open_notebook("%container -w stats --interval 0.5")
    notebook.run()
    plots = notebook.widget("Figures")
    for name in ("busy", "calm"):
        plots.get_by_role("listitem").filter(has_text=f"{name}: ").wait_for()
    notebook.page.wait_for_function(
        """(each) => {
            const paths = [...each.querySelectorAll('figure path')].map((path) => path.getAttribute('d'));
            return paths.length >= 4 && paths[0].split('L').length > 5;
        }""",
        arg=plots.element_handle(),
    )
    words = plots.locator("figure title").first.text_content() or ""
    assert words.startswith("CPU: ")
    assert "busy " in words
    assert "calm " in words
    picture("widgets-stats", plots)
    still = plots.get_by_label("stand still")
    still.focus()
    notebook.page.keyboard.press("Space")
    assert still.is_checked()
    still.click()
    assert not still.is_checked()
    engine.containers.stop("calm", time=0)
    plots.get_by_role("listitem").filter(has_text="calm: does not run").wait_for()


def test_files_are_looked_at_and_fetched(
    engine: Engine, open_notebook: Callable[..., Notebook], picture: Callable[..., Path]
) -> None:
    engine.containers.run("starter", ["sh", "-c", FILES], detach=True, name="web")
    engine.containers.run("starter", ["sh", "-c", "echo kept > /v/note"], remove=True, volume=["data:/v"])
    notebook = open_notebook("%container -w diff web", "%container -w volume inspect data")
    notebook.run()
    files = notebook.widget("Files of web")
    press = notebook.page.keyboard.press
    files.get_by_role("button", name="Open directory srv").focus()
    press("Enter")
    files.get_by_role("button", name="Open link now").focus()
    press("Enter")
    files.get_by_role("button", name="View index.html").focus()
    press("Enter")
    content = files.get_by_label("Content of /srv/now/index.html")
    content.get_by_text("<h1>Hello</h1>").wait_for()
    picture("widgets-files", files)
    with notebook.page.expect_download() as download:
        files.get_by_role("button", name="Download index.html").click()
    assert download.value.suggested_filename == "index.html"
    assert Path(download.value.path()).read_text() == "<h1>Hello</h1>\n"
    files.get_by_role("button", name="Go to /srv", exact=True).click()
    files.get_by_text("2 names in /srv").wait_for()
    volume = notebook.widget("Volume data")
    volume.get_by_role("button", name="View note").click()
    volume.get_by_text("kept").wait_for()


def test_networks_are_drawn_and_followed(
    engine: Engine, open_notebook: Callable[..., Notebook], picture: Callable[..., Path]
) -> None:
    engine.networks.create("back", internal=True)
    engine.containers.run("starter", ["sleep", "1000"], detach=True, name="web", publish=["38280:80"], stop_timeout=0)
    db = ["name=back,alias=store", "bridge"]
    engine.containers.run("starter", ["sleep", "1000"], detach=True, name="db", network=db, stop_timeout=0)
    notebook = open_notebook("%container -w network graph")
    notebook.run()
    graph = notebook.widget("Networks")
    drawing = graph.get_by_role("img", name="Networks")
    drawing.get_by_text("127.0.0.1:38280 -> 80/tcp (agent)").wait_for()
    graph.get_by_text("3 interfaces of containers").wait_for()
    graph.get_by_role("row", name="db eth0").get_by_text("B/s").first.wait_for()
    picture("widgets-networks", graph)
    saved = notebook.save().cells[1].outputs[0].data
    assert "<svg" in saved["text/html"]
    assert "└─ 127.0.0.1:38280 -> 80/tcp  by the network agent" in saved["text/plain"]
    engine.networks.disconnect("bridge", "db")  # by another process than the kernel
    graph.get_by_text("2 interfaces of containers").wait_for()
    graph.get_by_role("combobox", name="Network to show").focus()
    notebook.page.keyboard.press("b")  # as in any list: what begins so is chosen
    notebook.page.keyboard.press("b")
    graph.get_by_text("1 interface of containers").wait_for()
    notebook.page.keyboard.press("Tab")
    assert graph.get_by_role("group", name="Picture of the networks").evaluate("(e) => e === document.activeElement")
    graph.get_by_text("The same as text").click()
    graph.get_by_label("The networks as text").get_by_text("back: bridge").wait_for()


LAYERS = """\
FROM starter
RUN mkdir -p /srv/data /srv/many && head -c 300000 /dev/zero > /srv/data/big && cd /srv/many && touch $(seq 250)
RUN rm /srv/data/big && echo hello > /srv/data/note
"""


def test_layers_are_explored_by_keyboard(
    engine: Engine, open_notebook: Callable[..., Notebook], picture: Callable[..., Path]
) -> None:
    engine.images.build(dockerfile=LAYERS, tag="app:1")
    notebook = open_notebook("%container -w layers app:1")
    notebook.run()
    layers = notebook.widget("Layers of app:1")
    press = notebook.page.keyboard.press
    layers.get_by_role("tree", name="Files of layer 2").get_by_text("srv/").first.wait_for()
    layers.get_by_role("button", name="Show the files of layer 1").focus()
    press("Enter")
    tree = layers.get_by_role("tree", name="Files of layer 1")
    tree.get_by_role("treeitem", name="srv/ (").focus()
    press("ArrowRight")
    tree.get_by_role("treeitem", name="+ added many/").wait_for()
    for key in ("ArrowRight", "ArrowRight"):  # into it, and open the first directory
        press(key)
    tree.get_by_role("treeitem", name="+ added big (300kB, hidden by layer 2)").wait_for()
    press("ArrowDown")
    press("ArrowDown")
    press("ArrowRight")
    tree.get_by_text("… 50 more").wait_for()  # no more than 200 names come at once
    picture("widgets-layers", layers)
    tree.get_by_text("… 50 more").click()
    tree.get_by_role("treeitem", name="+ added 99 (").wait_for()
    assert tree.get_by_role("treeitem").count() == 3 + 1 + 250
    layers.get_by_role("searchbox").focus()
    notebook.page.keyboard.type("data/")
    layers.get_by_text("3 paths with “data/”").wait_for()
    layers.get_by_label("only what is wasted").check()
    layers.get_by_text("1 path with “data/”").wait_for()
    layers.get_by_role("row", name="/srv/data/big").get_by_text("hidden by layer 2").wait_for()
    saved = notebook.save().cells[1].outputs[0].data
    assert "<details>" in saved["text/html"]
    assert "line 3 of the Dockerfile" in saved["text/plain"]


BUILD = """\
FROM starter AS tools
RUN echo tool > /tool && echo made the tool
FROM starter
COPY --from=tools /tool /tool
RUN until [ $((n+=1)) -gt 15 ]; do echo waiting; sleep 0.2; done; echo the gate is open
"""


def test_a_build_is_followed_and_its_steps_are_looked_at(
    engine: Engine, open_notebook: Callable[..., Notebook], picture: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(BUILD)
    engine.images.build(dockerfile="\n".join(BUILD.splitlines()[:2]), tag="tools")
    notebook = open_notebook(f"%container -w build -t app:1 {tmp_path}", "print('went on')")
    notebook.start()
    build = notebook.widget("Build")
    drawing = build.get_by_role("img", name="Build of app:1")
    drawing.get_by_text("running", exact=True).wait_for()
    build.get_by_text("waiting").first.wait_for()  # the output of the running step, while the cell runs
    assert drawing.get_by_text("hit", exact=True).count() >= 1
    build.get_by_text("Built app:1: ").first.wait_for()
    notebook.cell(2).locator(".jp-OutputArea-output").get_by_text("went on").wait_for()
    drawing.locator("text", has_text="RUN until").click()
    build.get_by_label("What the step printed").get_by_text("the gate is open").wait_for()
    picture("widgets-build", build)
    build.get_by_text("The steps as a list").click()
    build.get_by_role("button", name="Show what line 2, RUN echo tool").focus()
    notebook.page.keyboard.press("Enter")
    build.get_by_text("(no output)").wait_for()  # it was taken from the cache
    saved = notebook.save().cells[1].outputs[0].data
    assert "Built app:1: 4 steps: 2 hit, 2 miss" in saved["text/plain"]
    assert "<svg" in saved["text/html"]


def test_a_build_is_stopped_and_the_cells_after_it_are_not_run(
    engine: Engine, open_notebook: Callable[..., Notebook]
) -> None:
    notebook = open_notebook(
        "widgets.build(dockerfile='FROM starter\\nRUN echo begun; sleep 1000', tag='app:1')",
        "print('went on')",
    )
    notebook.start()
    build = notebook.widget("Build")
    build.get_by_text("begun").first.wait_for()
    build.get_by_role("button", name="Stop the build").click()
    build.get_by_text("Stopped; the steps that were done are in the cache").first.wait_for()
    notebook.cell(1).get_by_text("Cancelled").first.wait_for()
    assert notebook.cell(2).locator(".jp-OutputArea-output").count() == 0
    assert not any(each.repository == "app" for each in engine.images.list())


def test_a_container_is_run_by_a_form(
    engine: Engine, open_notebook: Callable[..., Notebook], picture: Callable[..., Path]
) -> None:
    notebook = open_notebook("%container -w run --rm -e GREETING=hello starter sh -c 'echo $GREETING'")
    notebook.run()
    form = notebook.widget("Run a container")
    line = form.get_by_label("The line that does the same")
    line.get_by_text("%container run --rm --env=GREETING=hello starter sh -c 'echo $GREETING'").wait_for()
    form.get_by_role("combobox", name="Option to add").select_option("hostname")
    form.get_by_role("textbox", name="--hostname").fill("box")
    command = form.get_by_role("textbox", name="Command")
    command.fill("sh -c 'echo $GREETING from $(hostname); exit 3'")
    line.get_by_text("--hostname=box").wait_for()
    command.press("Enter")
    form.get_by_role("log").get_by_text("hello from box").wait_for()
    form.get_by_text("exit status 3").wait_for()
    picture("widgets-run", form)
    assert engine.containers.list(all=True) == []
    command.fill("sleep 1000")
    line.get_by_text("sleep 1000").wait_for()
    form.get_by_role("button", name="Run the container").click()
    form.get_by_text("It runs …").wait_for()
    form.get_by_role("button", name="Stop the container").click()
    form.get_by_text("Ended: ").wait_for()
    command.fill("echo 'open")
    line.get_by_text("the command cannot be read").wait_for()
    assert form.get_by_role("button", name="Run the container").is_disabled()
