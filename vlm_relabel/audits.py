"""`audit`: where the rewards of a set fool themselves."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field
from pydantic.dataclasses import dataclass

from schemas.errors import RelabelError, StoreError
from schemas.extras import named_extras
from schemas.labels import Labels
from schemas.store import Store
from vlm_relabel.keywords import STRICT, Location, Show, silent, takes
from vlm_relabel.outputs import out_folder

if TYPE_CHECKING:
    from relabel.evaluation.audit_report import AuditReport
    from relabel.evaluation.counterfactual_counts import EncodeTexts
    from relabel.evaluation.coverage import Reference
    from relabel.evaluation.evidence import Evidence
    from schemas.manifests import RewardManifest

JSON_FILE: Final = "audit.json"
Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AuditArguments:
    """What is audited, what is known of it, and where it is written."""

    store: Location
    rewards: str = "v1"
    labels: Location | Labels | None = None  # label table
    labels_field: str | None = None  # column of the steps table that tells what is true
    where: str | None = None  # column of flags: frames whose truth counts
    above: Finite | None = None  # what a goal claims a frame above; None: its threshold
    encoder: str | None = None  # embeds counterfactual texts
    device: str | None = None  # of the encoder; None: cpu
    precision: str | None = None  # of the encoder; None: that of the stored embeddings
    reference: Location | None = None  # store, STORE:COLUMN or file of frames that it knows
    save_reference: Location | None = None  # file to write what --reference is like to
    out: Location | None = None  # folder or URL
    trust: bool = False
    show: Show = silent  # called now and then


@takes(AuditArguments)
@named_extras("audit")
def audit(arguments: AuditArguments) -> AuditReport:
    """Audits a reward set: false positives by kind, confusion of goals, frames it cannot know.

    Takes the options of `vlm-relabel audit`; `labels` may be `schemas.labels.Labels`.

    Returns:
        Every figure, the warnings, and what could not be told.

    Raises:
        RelabelError: no such reward set; labels, a column or a reference that does not fit.

    Example:
        >>> import vlm_relabel
        >>> found = vlm_relabel.audit(store="my.store", rewards="v1", labels_field="truth")
        >>> [kind.kind for kind in found.kinds]
        ['absent', 'before', 'after']
    """
    from relabel.evaluation.audits import AuditMeans
    from relabel.evaluation.audits import audit as audited

    store = Store.open(os.fspath(arguments.store), trust=arguments.trust)
    folder = None if arguments.out is None else out_folder(arguments.out)
    manifest = store.rewards(arguments.rewards)
    _check(manifest, arguments)
    asked = AuditMeans(
        evidence=_evidence(store, manifest, arguments),
        above=arguments.above,
        references=_references(store, manifest, arguments),
        encode_texts=_text_encoder(manifest, arguments),
        notes=_notes(manifest, arguments),
    )
    found = audited(
        store, arguments.rewards, asked, tell=lambda what: partial(arguments.show, what)
    )
    if folder is not None:
        from relabel.evaluation.audit_figures import confusion_files

        folder.write(JSON_FILE, found.report.model_dump_json(indent=1).encode())
        for name, content in confusion_files(found.confusion):
            folder.write(name, content)
    return found.report


def _check(manifest: RewardManifest, arguments: AuditArguments) -> None:
    """Refuses options that nothing would come of."""
    if arguments.above is not None and not manifest.scores:
        raise RelabelError(
            f"--above {arguments.above:g}: expected scores, and rewards/{manifest.name} was stored "
            "without them (--no-scores); leave --above out, so that its rewards are looked at"
        )
    if arguments.encoder is None:
        for option, given in (("device", arguments.device), ("precision", arguments.precision)):
            if given is not None:
                raise RelabelError(
                    f"--{option} {given}: is that of --encoder, and no encoder is given; give "
                    "--encoder NAME too"
                )


# --- what is true -----------------------------------------------------------------------------


def _evidence(store: Store, manifest: RewardManifest, arguments: AuditArguments) -> Evidence | None:
    from relabel.evaluation.evidence import of_field, of_labels
    from relabel.evaluation.truth import expect_labels, given_labels

    field, where = arguments.labels_field, arguments.where
    labels = given_labels(arguments.labels, field, where)
    if not manifest.scores:
        return None
    tell = partial(arguments.show, "reading what is true")
    if field is not None:
        return of_field(store, manifest.name, field, where=where, tell=tell)
    if labels is None:
        return None
    known = of_labels(store, manifest.name, labels, tell=tell)
    expect_labels(store, [known])
    return known


def _notes(manifest: RewardManifest, arguments: AuditArguments) -> tuple[str, ...]:
    asked = arguments.labels is not None or arguments.labels_field is not None
    if asked and not manifest.scores:
        return ("what is true was not looked at, because the reward set has no scores",)
    return ()


# --- the encoder ------------------------------------------------------------------------------


def _text_encoder(manifest: RewardManifest, arguments: AuditArguments) -> EncodeTexts | None:
    """Of the encoder that made the rewards.

    Raises:
        StoreError: it is another one.
    """
    if arguments.encoder is None:
        return None
    from relabel.encoders.factory import FactoryLoader
    from relabel.encoders.registry import encoder_loader

    # Goals that are too long were cut, or they would not be in the store.
    cut = not FactoryLoader.takes(arguments.encoder)
    device, precision = arguments.device or "cpu", arguments.precision or "auto"
    loader = encoder_loader(arguments.encoder, device, precision, cut)
    encoder = loader.for_texts([manifest.encoder])
    if differing := manifest.encoder.differences(encoder.spec):
        raise StoreError(
            f"--encoder {arguments.encoder}: the rewards {manifest.name} were made with another "
            f"one, {manifest.encoder.name}: {'; '.join(differing)}"
        )
    return encoder.encode_texts


# --- references -------------------------------------------------------------------------------


def _references(
    store: Store, manifest: RewardManifest, arguments: AuditArguments
) -> dict[str, Reference]:
    """What the frames of each embedding table are compared with, by table."""
    from relabel.evaluation.coverage import write_reference
    from relabel.evaluation.references import asked_reference, shipped_reference

    tables = [table for table in store.embeddings() if _is_of(table.table, manifest)]
    if arguments.reference is None:
        if arguments.save_reference is not None:
            raise RelabelError("--save-reference: expected --reference, whose frames it describes")
        names = (arguments.encoder, manifest.encoder.name)
        found = shipped_reference(manifest.encoder, [name for name in names if name])
        return {} if found is None else {table.table: found for table in tables}
    given = os.fspath(arguments.reference)
    references = {table.table: asked_reference(given, table) for table in tables}
    if arguments.save_reference is not None:
        if len(references) != 1:
            raise RelabelError(
                f"--save-reference: expected rewards of one camera, got {len(references)}; audit a "
                "reward set of one camera"
            )
        write_reference(next(iter(references.values())), os.fspath(arguments.save_reference))
    return references


def _is_of(table: str, manifest: RewardManifest) -> bool:
    return table.partition("/")[2] in manifest.embeddings
