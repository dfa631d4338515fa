"""The subcommand `audit`: parsed and run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vlm_relabel.cli import console
from vlm_relabel.cli.arguments import Json, LabelsField, LabelTable, Trust, Where
from vlm_relabel.cli.guard import guarded

if TYPE_CHECKING:
    from relabel.evaluation.audit_report import AuditReport


def audit(
    store: Annotated[str, typer.Argument(help="Store that holds the reward set.")],
    rewards: Annotated[str, typer.Option(metavar="NAME", help="Reward set to audit.")] = "v1",
    labels: LabelTable = None,
    labels_field: LabelsField = None,
    where: Where = None,
    above: Annotated[
        float | None,
        typer.Option(
            metavar="SCORE",
            help="Score above which a goal claims a frame. The default is each goal's threshold; "
            "without one, 0.5 for probabilities, else what 5% of the frames are above.",
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Encoder that made the rewards, to embed counterfactual texts with. Without it, "
            "texts of other goals and texts that the store keeps are taken. No frame is embedded.",
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Device of that encoder. The default is cpu.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="Precision of that encoder. The default is auto: that of the stored embeddings."
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="Frames that the encoder can tell apart, to hold these frames against: a store, "
            "STORE:COLUMN with a column of flags, or a file of --save-reference. By default the "
            "file coverage.parquet beside the weights of a local-dir: encoder, if it is there.",
        ),
    ] = None,
    save_reference: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="With --reference STORE: .parquet file to write what its frames are like to, so "
            "that it can lie beside the encoder's weights.",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for the confusion matrix as PNG, SVG and CSV, and all figures as JSON. "
            "Files of the same name are replaced.",
        ),
    ] = None,
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Look for where rewards fool themselves.

    A goal claims a frame if its score is above its threshold. The audit shows which claims are
    false and of what kind (the goal is absent, before its success, after it), which goals claim
    frames in the episodes of others, whether a text with another colour, object or relation fits
    better, which goals are never or always on, and whether scores follow the instructions.

    It warns when frames lie outside of what the encoder can tell apart: then scores mean little,
    however sure they look.

    Without labels it says what it can, and names what it cannot. No frame is embedded again.
    """
    from vlm_relabel.cli.audit_console import show_audit

    def run() -> AuditReport:
        from vlm_relabel import audits

        with console.stages(json) as show:
            return audits.audit(
                store=store,
                rewards=rewards,
                labels=labels,
                labels_field=labels_field,
                where=where,
                above=above,
                encoder=encoder,
                device=device,
                precision=precision,
                reference=reference,
                save_reference=save_reference,
                out=out,
                trust=trust,
                show=show,
            )

    show_audit(guarded(run, json), out, json)
