from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jupyter_containers.build.ledger import BuildRecord, StepState
from jupyter_containers.build.options import BuildResult, StepReport
from jupyter_containers.build.verdicts import Verdict
from jupyter_containers.commands.results import Column, Grid
from jupyter_containers.engine import Container, Image
from jupyter_containers.engine.volumes import Volume
from jupyter_containers.errors import SourceRange
from jupyter_containers.images.mutate import empty_config
from jupyter_containers.notebook import display, markup, objects, values
from jupyter_containers.notebook.drawing import build_graph
from jupyter_containers.oci.image_spec import Descriptor
from jupyter_containers.oci.names import Digest
from tests.support.builds import PLATFORM
from tests.support.fake_engine import CONTAINER_ID, MOMENT, FakeEngine, FakeReport, network, result, summary, volume
from tests.support.pages import SVG, Page, drawings, well_formed, words

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

HOSTILE = "</td></table><script>alert(1)</script>\x1b[2J\u202e&"


def built(*steps: StepReport, skipped: tuple[StepReport, ...] = ()) -> BuildResult:
    return BuildResult(
        Descriptor("", Digest.of(b"m"), 0), Digest.of(b"i"), empty_config(PLATFORM), (), steps, 1.0, skipped
    )


def step(line: int, text: str, verdict: Verdict, stage: str = "0", **more: Any) -> StepReport:
    return StepReport(f"v{line}", stage, line, 9, text, SourceRange("Dockerfile", line, line), 0.1, verdict, **more)


def test_a_result_says_how_it_ended_in_words() -> None:
    html = well_formed(objects.run_html(result(stdout=b"<hi>\n")))
    assert "✓ exit status 0, 310 ms, 20 ms CPU, 2.1MB memory <code>echo hi</code>" in html
    assert "<pre>&lt;hi&gt;\n</pre>" in html
    assert html.startswith("<details><summary>")
    assert "✗ killed by signal 9" in objects.run_html(result(137))
    assert well_formed(objects.run_html(result(1))).startswith("<p>✗ exit status 1")


def test_long_output_is_bounded_and_says_so() -> None:
    html = objects.run_html(result(stdout=b"x" * 1_000_000))
    assert len(html) < 100_000
    assert "without the first 934464 characters" in html


def test_output_is_shown_without_the_colours_of_a_terminal() -> None:
    html = well_formed(objects.run_html(result(stdout=b"\x1b[31mred\x1b[0m \x07<b>\n10%\r100%\n")))
    assert "<pre>red \\x07&lt;b&gt;\n100%\n</pre>" in html


def test_images_containers_and_reports() -> None:
    image = FakeEngine().images.image
    html = well_formed(objects.image_html(image))
    assert "<caption>Image alpine:latest</caption>" in html
    assert "7.83MB" in html
    container = Container(CONTAINER_ID, "web", "alpine:latest")
    assert "<code>c0ffee000000</code>" in well_formed(objects.container_html(container))
    report = well_formed(display.report_html(FakeReport()))
    assert "✓ works" in report
    assert "✗ missing" in report
    assert "<code>mount -t cgroup &lt;where&gt;</code>" in report
    assert "<caption>Engine</caption>" in well_formed(display.info_html(FakeEngine().info()))


def test_networks_and_volumes() -> None:
    page = Page.of(well_formed(objects.network_html(network("1" * 64, "lan"))))
    assert page.texts("caption") == ["Network lan"]
    assert "10.5.0.0/24" in page.texts("td")
    assert objects.network_text(network("1" * 64, "lan")) == "Network(lan: 111111111111, bridge, 10.5.0.0/24)"
    made = Volume("i", "data", "/store/volumes/i/data")
    assert "/store/volumes/i/data" in Page.of(well_formed(objects.volume_html(made))).texts("td")
    assert objects.volume_text(made) == "Volume(data: /store/volumes/i/data)"
    row = volume("data", size=7_000, containers=("db",), labels={"tier": "db"})
    assert {"7kB", "db", "tier=db"} <= set(Page.of(well_formed(objects.volume_summary_html(row))).texts("td"))
    assert objects.volume_summary_text(row).endswith(", 7kB)")


def test_nothing_that_comes_from_outside_is_obeyed() -> None:
    """Names, labels, commands, output, paths and reasons with markup and control sequences in them."""
    image = Image(Digest.of(b"i"), Digest.of(b"m"), (HOSTILE,), MOMENT, 1, {HOSTILE: HOSTILE}, (HOSTILE,), HOSTILE)
    found = summary(HOSTILE, command=HOSTILE, image=HOSTILE, labels={HOSTILE: HOSTILE}, mounts={HOSTILE: HOSTILE})
    reason = Verdict("miss", "k", HOSTILE)
    build = built(step(1, HOSTILE, reason, stage=HOSTILE))
    shown = [
        (objects.image_html(replace(image, build=build)), objects.image_text(image)),
        (objects.container_html(Container(CONTAINER_ID, HOSTILE, HOSTILE), found), objects.summary_text(found)),
        (objects.summary_html(found), objects.container_text(Container(CONTAINER_ID, HOSTILE, HOSTILE), found)),
        (objects.build_html(build), objects.build_text(build)),
        (objects.run_html(result(stdout=HOSTILE.encode(), stderr=HOSTILE.encode())), objects.run_text(result())),
        (objects.network_html(replace(network("1", HOSTILE), labels={HOSTILE: HOSTILE})), ""),
        (objects.volume_html(Volume("i", HOSTILE, HOSTILE)), objects.volume_text(Volume("i", HOSTILE, HOSTILE))),
        (objects.volume_summary_html(volume(HOSTILE, labels={HOSTILE: HOSTILE}, containers=(HOSTILE,))), ""),
    ]
    for html, text in shown:
        page = Page.of(well_formed(html))
        assert "<script" not in html
        assert all(each.isprintable() or each == "\n" for each in html + text)
        assert any("script>" in tag.text for tag in page.tags)
    for drawing in drawings(objects.build_html(build)):
        assert {element.tag.rpartition("}")[2] for element in drawing.iter()} <= {
            "svg", "title", "desc", "text", "rect", "circle", "path"
        }  # fmt: skip


def test_an_image_shows_the_verdicts_of_its_build() -> None:
    miss = step(2, "COPY <x> /", Verdict("miss", "k", "file changed: <x> (content)"))
    skipped = step(1, "RUN true", Verdict("skipped", reason="not needed"))
    image = replace(FakeEngine().images.image, build=built(miss, skipped=(skipped,)))
    html = well_formed(objects.image_html(image))
    assert "<summary>Build: 2 steps: 1 miss, 1 skipped, in 1.0s</summary>" in html
    assert "<code>COPY &lt;x&gt; /</code>" in html
    assert "file changed: &lt;x&gt; (content)" in html
    rows = Page.of(html).texts("tr")
    assert next(at for at, row in enumerate(rows) if "not needed" in row) < next(
        at for at, row in enumerate(rows) if "file changed" in row
    )


def test_a_build_is_drawn_with_its_stages_and_what_they_work_on() -> None:
    result = built(
        step(1, "FROM starter AS base", Verdict("hit"), "base"),
        step(2, "RUN make", Verdict("miss", "k", "instruction changed"), "base", needs=(("base", 1),)),
        step(3, "COPY --from=base /a /b", Verdict("miss", "k", "file changed: a"), "1", needs=(("base", 2),)),
        skipped=(step(4, "RUN never", Verdict("skipped", reason="stage 1 does not need it"), "docs"),),
    )
    text = objects.build_text(result)
    assert text.splitlines()[0].endswith("4 steps: 1 hit, 2 miss, 1 skipped, in 1.0s")
    assert "stage 1, works on stage base" in text
    assert "  ● miss      100ms    2  RUN make" in text
    assert "  - skipped            4  RUN never" in text
    html = well_formed(objects.build_html(result))
    (drawing,) = drawings(html)
    told = words(drawing)
    assert {"hit", "miss", "skipped", "instruction changed", "stage 1, works on stage base", "100ms"} <= set(told)
    dashed = [element for element in drawing.iter(f"{SVG}path") if element.get("stroke-dasharray")]
    assert len(dashed) == 1  # from stage base to stage 1; the line within base is solid
    assert Page.of(html).texts("tr")[-1] == "4docsRUN never- skippedstage 1 does not need it"


def test_a_drawing_of_a_long_build_is_bounded() -> None:
    result = built(*(step(line, f"RUN {line}", Verdict("hit")) for line in range(1, 2001)))
    assert len(build_graph.picture(build_graph.BuildGraph.of_result(result))) < 500_000
    assert "… 1600 more steps" in words(drawings(objects.build_html(result))[0])


def test_the_steps_of_a_remembered_build_are_a_frame_with_a_drawing() -> None:
    state = StepState(
        stage="0", index=1, total=1, text="RUN <x>", line=1, status="failed", reason="exit status 3", seconds=0.2,
        layers=[], env=[], cwd="/", user="", shell=[],
    )  # fmt: skip
    record = BuildRecord(
        id="b1", created=0, name="Dockerfile", tags=["tool:1"], context="", error="<it> failed", seconds=1.0,
        steps=[state],
    )  # fmt: skip
    assert "✗ failed" in objects.record_text(record)
    assert "<p>✗ &lt;it&gt; failed</p>" in well_formed(objects.record_html(record))
    columns = (Column("STEP", "step", "count", (1,)), Column("WHY", "why", "text", ("x",)))
    grid = Grid("Steps of b1", columns, subject=record)
    frame = values.value_of(grid)
    (drawing,) = drawings(well_formed(frame._repr_html_()))
    assert "failed" in words(drawing)
    assert frame["why"].tolist() == ["x"]
    assert "<svg" not in frame[frame["why"] == "x"]._repr_html_()


def test_the_formatters_know_the_types(shell: Any) -> None:
    formatter = shell.display_formatter
    values = {
        "RunResult(exit status 0, 310 ms, 20 ms CPU, 2.1MB memory: echo hi)": result(),
        "Image(alpine:latest: ": FakeEngine().images.image,
        "Container(web: c0ffee000000, alpine:latest)": Container(CONTAINER_ID, "web", "alpine:latest"),
        "Container(web: c0ffee000000, alpine:latest, Up": summary("web"),
        "Network(lan": network("1" * 64, "lan"),
        "Volume(data": volume("data"),
        "version: 0.1.0": FakeEngine().info(),
        "Build of ": built(step(1, "FROM scratch", Verdict("hit"))),
    }
    for text, value in values.items():
        bundle, _ = formatter.format(value)
        assert bundle["text/plain"].startswith(text)
        assert "text/html" in bundle


def test_a_container_is_shown_as_it_is_at_the_moment(shell: InteractiveShell, fake: FakeEngine) -> None:
    container = shell.run_line_magic("container", "run -d --name web alpine")
    formatter: Any = shell.display_formatter
    bundle, _ = formatter.format(container)
    assert bundle["text/plain"].endswith("alpine, Up 2 minutes)")
    page = Page.of(well_formed(bundle["text/html"]))
    assert page.texts("caption")[0].startswith("Container web, as of 20")
    assert "running: Up 2 minutes" in page.texts("td")
    fake.containers.rows.clear()
    bundle, _ = formatter.format(container)
    assert bundle["text/plain"] == "Container(web: c0ffee000000, alpine)"


def test_forgotten_types_are_shown_as_before(shell: InteractiveShell) -> None:
    formatter: Any = shell.display_formatter
    formatter.format(summary("web"))
    display.unregister(shell)
    bundle, _ = formatter.format(summary("web"))
    assert "text/html" not in bundle
    assert bundle["text/plain"].startswith("ContainerSummary(")


def test_words_are_spelled_where_they_would_act() -> None:
    assert markup.code("<a>\x1b[1m\udcff") == "<code>&lt;a&gt;\\x1b[1m\\xff</code>"
