"""The timing of exact assignments: whether it runs, agrees and writes its table."""

import sys

import pytest

from benchmarks import assignment


def test_table_is_written_between_its_marks(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{assignment.MARKS[0]}\nold\n{assignment.MARKS[1]}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["assignment", "--points", "70", "--rounds", "1", "--into", str(page)])
    assignment.main()
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert text.count("\n| 70 | ") == 1


def test_page_without_marks_is_refused(tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    page.write_text("nothing", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["assignment", "--points", "70", "--rounds", "1", "--into", str(page)])
    with pytest.raises(SystemExit):
        assignment.main()
    assert "must have the marks" in capsys.readouterr().err
    assert page.read_text(encoding="utf-8") == "nothing"
