"""The table in docs/conformance.md is what the tests say."""

from __future__ import annotations

from tests.conformance import clauses


def test_the_table_is_current() -> None:
    hint = "run: python -m tests.conformance.clauses"
    assert clauses.TABLE.read_text(encoding="utf-8") == clauses.table(clauses.collect()), hint


def test_every_test_of_a_runtime_names_its_clause() -> None:
    assert clauses.unmarked() == []


def test_every_clause_is_of_a_known_document() -> None:
    assert {clause.document for clause in clauses.collect()} <= set(clauses.DOCUMENTS)
