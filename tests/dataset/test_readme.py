from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import yaml

from flytewheel.dataset.readme import describe_length_bias, draw_figures

from .made import CARD, make


def front_matter(folder: Path) -> dict[str, object]:
    _, front, _ = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return dict(yaml.safe_load(front))


def test_the_front_matter_says_licence_size_and_parts(tmp_path: Path) -> None:
    make(tmp_path)
    front = front_matter(tmp_path)
    assert (front["license"], front["size_categories"]) == ("cc-by-4.0", ["n<1K"])
    configs = {each["config_name"]: each for each in front["configs"]}
    assert list(configs) == ["sft", "preference", "unpaired", "trajectory", "regression", "quarantined"]
    assert configs["sft"]["default"] is True
    assert configs["regression"]["data_files"] == [
        {"split": part, "path": f"regression/{part}.parquet"} for part in ("train", "validation", "test", "holdout")
    ]


def test_a_licence_of_ones_own_cannot_write_front_matter(tmp_path: Path) -> None:
    make(tmp_path, {}, license="Ours: ask\n---\nlicense: mit")
    front = front_matter(tmp_path)
    assert (front["license"], front["license_name"]) == ("other", "Ours: ask --- license: mit")
    make(tmp_path, {}, license=None)
    assert front_matter(tmp_path)["license"] == "unknown"


def test_it_tells_funnel_reasons_and_examples_without_anybodys_markup(tmp_path: Path) -> None:
    make(tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| came in | 9 |" in text
    assert "| toxic | 2 | \\<EMAIL\\_1\\> is a \\<b\\>fool\\</b\\> \\!\\[x\\]\\(http://a.example/x\\) |" in text
    assert "| a\\|b \\<i\\> | 3 | 0 |" in text
    assert "9 interactions and 3 feedback events from oncall, 2026-11-16" in text
    assert "chosen answers are +2.0 words longer" in text
    assert "![Rows left after each stage](figures/funnel.svg)" in text
    assert '"burst_events": 20' in text
    assert text.count("](http") == 0


def test_pictures_stand_alone_and_say_what_they_show(tmp_path: Path) -> None:
    make(tmp_path)
    files = {path.stem: path for path in (tmp_path / "figures").iterdir()}
    assert set(files) == {"funnel", "scores", "lengths", "topics", "reasons"}
    for path in files.values():
        text = path.read_text(encoding="utf-8")
        root = ElementTree.fromstring(text)
        assert root.get("role") == "img"
        assert root.find("{http://www.w3.org/2000/svg}title") is not None
        assert "prefers-color-scheme:dark" in text
        assert "href" not in text
        assert text.count("http") == 1  # the namespace
    told = ElementTree.fromstring(files["funnel"].read_text()).findtext("{http://www.w3.org/2000/svg}desc")
    assert told == "came in: 9; screened: 6; sft rows: 5"


def test_a_picture_with_nothing_in_it_is_no_file_even_where_one_was(tmp_path: Path) -> None:
    make(tmp_path)
    make(tmp_path, {}, topics_before={}, topics_after={}, scores={})
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"funnel", "lengths", "reasons"}


def test_steps_stand_in_for_a_funnel() -> None:
    assert "screen: 6; split: 5" in draw_figures(replace(CARD, funnel=()).to_json())["funnel"]
    assert draw_figures({}) == {}


def test_a_length_bias_in_words() -> None:
    assert describe_length_bias(CARD.pairs) == (
        "chosen answers are +2.0 words longer than rejected ones on average; longer in 100% of 1 pairs, shorter in 0%"
    )
    assert describe_length_bias({}) == "no pair to tell a length bias from"
