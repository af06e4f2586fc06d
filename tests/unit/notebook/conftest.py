from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import jupyter_containers.engine
from jupyter_containers import notebook
from tests.support.fake_engine import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """The engine that the magics will use."""
    made = FakeEngine()
    monkeypatch.setattr(jupyter_containers.engine, "Engine", lambda **_options: made)
    return made


@pytest.fixture
def shell(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:  # noqa: ARG001 - before loading
    """A shell of its own with the extension loaded."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    hook, module = sys.displayhook, sys.modules["__main__"]
    config = Config()
    config.HistoryManager.enabled = False
    make: Any = InteractiveShell
    made = make(config=config)
    notebook.load(made)
    yield made
    notebook.unload(made)
    made.restore_sys_module_state()
    sys.displayhook, sys.modules["__main__"] = hook, module
