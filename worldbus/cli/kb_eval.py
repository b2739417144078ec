"""`worldbus kb eval`: how good the answers of the knowledge base are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from worldbus.cli.kb import kb
from worldbus.cli.options import game_option, json_option, run
from worldbus.cli.output import Progress, remark, say, say_json, table

if TYPE_CHECKING:
    from worldbus.evaluation.run import Report

HEADER = ("mode", "recall@5", "MRR", "nDCG@10", "leak rate", "negatives AUC", "p50 ms", "p95 ms")


@kb.command("eval")
@click.option("--lore", type=click.Path(path_type=Path), help="Folder of documents.  [default: those of the sample world]")
@click.option("--questions", type=click.Path(path_type=Path), help="File of labelled questions.  [default: those of the sample world]")
@click.option(
    "--beir", type=click.Path(path_type=Path), help="Instead: a folder in BEIR's format (corpus.jsonl, queries.jsonl, qrels/test.tsv)."
)
@click.option("--embedder", default="minilm", show_default=True, metavar="NAME", help="What turns text into vectors, as in `kb model`.")
@json_option
@game_option
def eval_(lore: Path | None, questions: Path | None, beir: Path | None, embedder: str, as_json: bool) -> None:
    """Ask labelled questions in every mode and measure the answers: recall, ranks, leaks and times, beside plain BM25.

    Runs on a Postgres of its own in a temporary folder, the way a living world does: no server is needed, none is touched. Exit code 1 if
    anything was found that the asker may not know (yet).
    """
    from worldbus.cli.app import No
    from worldbus.extras import require

    require("an evaluation of the knowledge base", "knowledge", "servers")
    report = run(_eval(lore, questions, beir, embedder))
    if as_json:
        say_json(report.as_dict())
    else:
        _show(report)
    if leaks := sum(scores.leaks for scores in report.modes.values()):
        raise No(f"{leaks} passages were found that the asker may not know")


async def _eval(lore: Path | None, questions: Path | None, beir: Path | None, embedder: str) -> Report:
    from bus.errors import BadSettings
    from projections.knowledge.embedders import open_embedder
    from worldbus.edges.lore import documents
    from worldbus.evaluation import beir as beir_format
    from worldbus.evaluation import questions as labelled
    from worldbus.evaluation.run import evaluate, evaluate_beir
    from worldbus.evaluation.stage import open_stage
    from worldbus.games import current

    if beir and (lore or questions):
        raise BadSettings("give --beir, or --lore and --questions: a data set brings its own documents and questions")
    content = current().content
    data = beir_format.load(beir) if beir else None
    asked = [] if data else labelled.load(questions or content.folder / "questions.jsonl")
    folder = lore or content.folder / "lore"
    read = [] if data else documents(folder, content.calendar, lambda *_: None)
    model = await open_embedder(embedder)
    try:
        with Progress() as progress:
            progress("starting a Postgres of its own")
            async with open_stage(model) as stage:
                if data:
                    return await evaluate_beir(stage, data, beir_format.documents(data), progress)
                return await evaluate(stage, read, asked, progress, data=folder.name)
    finally:
        await model.aclose()


def _show(report: Report) -> None:
    say(
        f"{report.data}: {report.passages} passages, {report.questions} questions ({report.negatives} that nothing answers), {report.model}"
    )
    say()
    rows = [
        (one.mode, one.recall_at_5, one.mrr, one.ndcg_at_10, one.leak_rate, one.negative_auc, one.p50_ms, one.p95_ms)
        for one in (*report.modes.values(), report.peer)
    ]
    say(table(rows, HEADER))
    hybrid = report.modes["hybrid"]
    if hybrid.negative_recall is not None and hybrid.negative_precision is not None:
        say()
        say(
            f"of the questions that nothing answers, {hybrid.negative_recall:.0%} score too low for an answer (hybrid); "
            f"of the questions that score too low, nothing answers {hybrid.negative_precision:.0%}"
        )
    kinds = list(dict.fromkeys(kind for scores in report.modes.values() for kind in scores.by_kind))
    if len(kinds) > 1:
        say()
        say(table([(one.mode, *one.by_kind.values()) for one in report.modes.values()], ("recall@5", *kinds)))
    if report.index_recall is None:
        remark("searches scan all vectors: nothing is lost to an index")
    else:
        remark(f"the index finds {report.index_recall:.3f} of what an exact scan finds")
