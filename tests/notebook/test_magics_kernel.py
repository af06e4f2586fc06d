"""The magics in a real kernel, with real containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.notebook.conftest import Kernel

pytestmark = pytest.mark.root


def test_a_container_prints_into_the_cell(kernel: Kernel) -> None:
    ended = kernel.run("%container run --rm starter echo hello")
    assert ended.status == "ok", ended
    assert ended.stdout == "hello\n"
    assert ended.data["text/plain"].startswith("RunResult(exit status 0, ")
    assert "✓ exit status 0" in ended.data["text/html"]
    assert ended.displays, "the image had to be made: progress is shown"
    assert {kind for kind, _, _ in ended.displays[1:]} <= {"update_display_data"}
    assert len({identity for _, _, identity in ended.displays}) == 1


def test_a_cell_is_a_script(kernel: Kernel) -> None:
    ended = kernel.run('%%container run --rm -e NAME starter\necho "$NAME" $((6*7))\necho oops >&2\n')
    assert ended.status == "ok", ended
    assert (ended.stdout, ended.stderr) == (" 42\n", "oops\n")


def test_variables_of_the_notebook_reach_the_container(kernel: Kernel) -> None:
    ended = kernel.run(
        "NAME = 'a  b'\nword = \"it's\"\n%container run --rm -e NAME starter sh -c 'echo \"$NAME\" $0' {word};"
    )
    assert ended.status == "ok", ended
    assert ended.stdout == "a  b it's\n"
    assert ended.data == {}


def test_output_comes_while_the_container_runs(kernel: Kernel) -> None:
    kernel.run("%container pull starter")
    message = kernel.start("%container run --rm starter sh -c 'echo first; sleep 3; echo second'")
    seen = kernel.finish(message, until="first")
    assert "second" not in seen.stdout
    rest = kernel.finish(message)
    assert rest.stdout == "second\n"


def test_a_failure_is_one_clear_error(kernel: Kernel) -> None:
    ended = kernel.run("%container -o r run --rm starter sh -c 'echo no >&2; exit 3'")
    assert (ended.status, ended.name, ended.stderr) == ("error", "ContainerFailed", "no\n")
    assert "ended with exit status 3" in ended.error[0]
    assert len(ended.error) <= 5
    kept = kernel.run("r.exit_code, r.stderr")
    assert kept.data["text/plain"] == "(3, 'no\\n')"
    quiet = kernel.run("%container --no-raise --quiet run --rm starter sh -c 'exit 3'")
    assert quiet.status == "ok"
    assert quiet.data["text/plain"].startswith("RunResult(exit status 3")


def test_an_interrupt_stops_and_removes_the_container(kernel: Kernel) -> None:
    kernel.run("%container pull starter")
    message = kernel.start("%container run --rm starter sh -c 'echo up; sleep 1000'")
    kernel.finish(message, until="up")
    kernel.manager.interrupt_kernel()
    ended = kernel.finish(message)
    assert (ended.status, ended.name) == ("error", "Interrupted")
    assert ended.error == ["Interrupted: the container was ended and removed"]
    assert kernel.run("%container ps -aq").data == {"text/plain": "[]"}


def test_an_image_is_built_from_a_cell(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("from the notebook's folder\n")
    source = (
        "%%container build -t made:1\nFROM starter\nCOPY data.txt /data\nRUN echo stepping; wc -c < /data > /count\n"
    )
    ended = kernel.run(source)
    assert ended.status == "ok", ended
    final = ended.displays[-1][1]["text/html"]
    assert "RUN echo stepping" in final
    assert "stepping\n</pre></details>" in final
    assert ended.data["text/plain"].startswith("Image(made:1: ")
    again = kernel.run(source)
    assert again.displays[-1][1]["text/html"].count("CACHED") >= 2
    assert kernel.run("%container run --rm made:1 cat /count /data;").stdout == "27\nfrom the notebook's folder\n"


def test_a_failed_build_names_the_line(kernel: Kernel) -> None:
    ended = kernel.run("%%container build .\nFROM starter\nRUN echo broken; exit 4\n")
    assert (ended.status, ended.name) == ("error", "StepFailed")
    assert "Dockerfile:2" in ended.error[0]
    assert "<details open>" in ended.displays[-1][1]["text/html"]


def test_detached_containers_are_listed_as_data(kernel: Kernel) -> None:
    started = kernel.run("%container run -d --name web -m 64m starter sleep 1000")
    assert started.data["text/plain"].startswith("Container(web: "), started
    listed = kernel.run(
        "df = %container ps\n(df['name'].tolist(), str(df['memory_limit'].dtype), df['memory_limit'].sum())"
    )
    assert listed.status == "ok", listed
    assert listed.data["text/plain"] in {"(['web'], 'Int64', 67108864)", "(['web'], 'Int64', np.int64(67108864))"}
    shown = kernel.run("df")
    assert "<caption>Containers: 1</caption>" in shown.data["text/html"]
    assert kernel.run("%container exec web echo inside;").stdout == "inside\n"
    assert kernel.run("%container stop -t 0 web").data["text/plain"] == "['web']"
    assert kernel.run("%container ps -q").data == {"text/plain": "[]"}


def test_the_store_is_described(kernel: Kernel) -> None:
    report = kernel.run("%container doctor")
    assert "<caption>What this host allows</caption>" in report.data["text/html"]
    images = kernel.run("%container pull starter;\n%container images")
    assert "<caption>Images: 1</caption>" in images.data["text/html"]
    assert "starter" in images.data["text/plain"]
    history = kernel.run("h = %container history starter\nh['size'].dtype")
    assert history.data["text/plain"] == "Int64Dtype()"


def test_a_build_explains_itself_and_what_failed_can_be_opened(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("1")
    cell = f"%%container build --network none {{}}-t app {tmp_path}\nFROM starter\nCOPY app.py /app.py\nRUN {{}}\n"
    assert kernel.run(cell.format("", "cat /app.py > /half")).status == "ok"
    (tmp_path / "app.py").write_text("22")
    ended = kernel.run(cell.format("", "cat /app.py > /half"))
    assert "3 steps: 1 hit, 2 miss" in ended.data["text/html"]
    assert "file changed: app.py (content)" in ended.data["text/html"]
    table = kernel.run("t = _.build.verdicts; print(t['status'].tolist(), t['reason'].tolist()[1:])")
    assert table.stdout == (
        "['hit', 'miss', 'miss'] ['file changed: app.py (content)', 'parent changed: COPY app.py /app.py (line 2)']\n"
    )
    ended = kernel.run(cell.format("--debug ", "echo half > /half; exit 3"))
    assert (ended.status, ended.name) == ("error", "StepFailed")
    assert "W /half" in ended.stdout
    assert "builder debug" in ended.error[-1]
    assert kernel.run("%container builder debug cat /half").stdout == "half\n"
    assert kernel.run("%%container builder debug\ncat /half; pwd").stdout == "half\n/\n"
    steps = kernel.run("%container -o s builder steps")
    assert steps.status == "ok"
    assert (
        kernel.run("print(s['status'].tolist(), s['status'].dtype.name)").stdout
        == "['hit', 'hit', 'failed'] category\n"
    )
    usage = kernel.run("%container -o u system df\nprint(u['size'].dtype, u.index.tolist()[-1])")
    assert usage.stdout == "Int64 Build Cache\n"
