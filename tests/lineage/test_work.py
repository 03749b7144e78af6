"""What a version keeps of the reports of its run."""

from __future__ import annotations

from flytewheel.lineage.work import describe_work, plain_reasons
from tests.run_reports import curated, evaluated, trained


def test_reports_become_figures_and_digests() -> None:
    reports = {
        "curate": curated("d") | {"steps": [{"examples": {"toxic": ["words"]}}], "comments": {"themes": ["words"]}},
        "train_sft": trained([(1, 1.0), (2, 0.5)]) | {"packages": {"torch": "2", "trl": "1"}},
        "align": {**trained([(1, 0.7)], method="dpo"), "device": "cuda:0 (bfloat16)", "packages": {"torch": "2.1"}},
        "train_reward": {"status": "running"},
        "evaluate": evaluated(1.1) | {"details": {"samples": ["words"]}},
        "export_gguf": {
            "files": {"model-Q8_0.gguf": {"kind": "Q8_0", "tensor_types": {"Q8_0": 9}, "fallbacks": {}, "size": 9}},
            "packages": {"torch": "1", "gguf": "0.19"},
        },
    }
    facts = describe_work(reports)
    assert "words" not in str(facts)
    assert facts["dataset"]["counts"] == {"sft": {"train": 300, "validation": 40}, "preference": {"train": 100}}
    assert set(facts["training"]) == {"train_sft", "align"}
    assert (facts["training"]["align"]["method"], facts["device"]) == ("dpo", "cuda:0 (bfloat16)")
    assert "curve" not in facts["training"]["train_sft"]
    assert facts["evaluation"]["perplexity"]["rows"] == 9
    assert facts["export"] == {"model-Q8_0.gguf": {"kind": "Q8_0", "tensor_types": {"Q8_0": 9}, "fallbacks": {}}}
    assert facts["packages"] == {"gguf": "0.19", "torch": "2", "trl": "1"}, "who trained first is believed"
    assert describe_work({}) == {}


def test_lines_that_name_topics_are_counted() -> None:
    reasons = [
        "for: perplexity 1.1, champion 1.2",
        "against: worse on topic my name is: rouge_l 0.1, champion 0.9",
        "against: worse on topic x: bleu 0.1",
        "against: worse on 7 more figures of topics",
        "for: better on topic worse on 9 lives: bleu 0.1",
        "cannot tell by topic: a, b have too few held-out users, it takes 6: collect more",
        "against: worse_topics 3 > 0",
    ]
    assert plain_reasons(reasons) == [
        "for: perplexity 1.1, champion 1.2",
        "against: worse on 9 figures of topics (the run's report names them)",
        "for: better on 1 figure of topics (the run's report names them)",
        "cannot tell by topic: some have too few held-out users (the run's report names them)",
        "against: worse_topics 3 > 0",
    ]
