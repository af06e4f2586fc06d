from __future__ import annotations

from jupyter_containers.runtime import program


def test_where_programs_are_looked_for() -> None:
    assert program.candidates("ls", "/bin::/usr/bin") == ["/bin/ls", "./ls", "/usr/bin/ls"]
    assert program.candidates("./ls", "/bin") == ["./ls"]
    assert program.search_path(["A=b", "PATH=/x"]) == "/x"
    assert program.search_path([]) == program.DEFAULT_PATH
