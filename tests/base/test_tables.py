"""Tables of text."""

import pytest

from swwae.base import tables


def test_markdown_is_aligned_as_text_too():
    head = ["variant", "error %", "seeds"]
    body = [["baseline", "9.5", "3"], ["swwae-all", "10.25", "12"]]
    assert tables.markdown(head, body).splitlines() == [
        "| variant   | error % | seeds |",
        "| --------- | ------: | ----: |",
        "| baseline  |     9.5 |     3 |",
        "| swwae-all |   10.25 |    12 |",
    ]


def test_narrow_columns_keep_a_rule_that_markdown_knows():
    assert tables.markdown(["a", "b"], [["1", "2"]]).splitlines()[1] == "| --- | --: |"
    assert tables.markdown(["a"], []).splitlines() == ["| a   |", "| --- |"]


@pytest.mark.parametrize("title", ["stage 2 of vgg8/swwae-layerwise", None])
def test_a_summary_has_its_labels_in_a_column(capsys, title):
    tables.print_summary(title, [("network", "models/x"), ("device", "CPU")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        *([title] if title else []),
        "  network  models/x",
        "  device   CPU",
    ]
