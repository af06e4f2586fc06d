from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from jupyter_containers.engine import Container
from jupyter_containers.notebook import display
from tests.support.fake_engine import FakeEngine, FakeReport, result

VOID = {"br", "hr"}


class _Checker(HTMLParser):
    """Fails for tags that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:  # noqa: ARG002 - the interface
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def well_formed(html: str) -> str:
    checker = _Checker()
    checker.feed(html)
    checker.close()
    assert not checker.open
    return html


def test_a_result_says_how_it_ended_in_words() -> None:
    html = well_formed(display.run_html(result(stdout=b"<hi>\n")))
    assert "✓ exit status 0, 310 ms, 20 ms CPU, 2.1MB memory <code>echo hi</code>" in html
    assert "<pre>&lt;hi&gt;\n</pre>" in html
    assert html.startswith("<details><summary>")
    assert "✗ killed by signal 9" in display.run_html(result(137))
    assert display.run_html(result(1)).startswith("<p>✗ exit status 1")


def test_long_output_is_bounded() -> None:
    assert len(display.run_html(result(stdout=b"x" * 1_000_000))) < 100_000


def test_images_containers_and_reports() -> None:
    image = FakeEngine().images.image
    html = well_formed(display.image_html(image))
    assert "<caption>Image alpine:latest</caption>" in html
    assert "7.83MB" in html
    container = Container("c0ffee" + "0" * 58, "web", "alpine:latest")
    assert "<code>c0ffee000000</code>" in well_formed(display.container_html(container))
    report = well_formed(display.report_html(FakeReport()))
    assert "✓ works" in report
    assert "✗ missing" in report
    assert "<code>mount -t cgroup &lt;where&gt;</code>" in report
    assert "<caption>Engine</caption>" in well_formed(display.info_html(FakeEngine().info()))


def test_the_formatters_know_the_types(shell: Any) -> None:
    formatter = shell.display_formatter
    values = {
        "RunResult(exit status 0, 310 ms, 20 ms CPU, 2.1MB memory: echo hi)": result(),
        "Image(alpine:latest: ": FakeEngine().images.image,
        "Container(web: c0ffee000000, alpine:latest)": Container("c0ffee" + "0" * 58, "web", "alpine:latest"),
        "version: 0.1.0": FakeEngine().info(),
    }
    for text, value in values.items():
        bundle, _ = formatter.format(value)
        assert bundle["text/plain"].startswith(text)
        assert "text/html" in bundle
