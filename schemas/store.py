"""The store: a folder of tables, one Parquet file per slice, each with its manifest."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from schemas import fields, slice_writer
from schemas.errors import DamagedError, StoreError
from schemas.files import FileState, Folder
from schemas.goals import GoalSet
from schemas.json_text import parse_json
from schemas.manifests import (
    AnyTableManifest,
    EmbeddingManifest,
    RewardManifest,
    StoreManifest,
    manifest_bytes,
    parse_manifest,
    parse_store_manifest,
)
from schemas.receipts import FOLDER, Receipt, read_receipt, write_receipt
from schemas.seals import check_file, file_problem, note_whole
from schemas.slice_writer import SliceWriter
from schemas.slices import Slice, TableFile

STORE_MANIFEST: Final = "manifest.json"
# Below the table's folder, since readers of a whole folder take what lies beside the slices for one
# of them. Of the names tried, pandas, Arrow, DuckDB and `datasets` all skip this one.
META: Final = "__meta__"
MANIFEST: Final = f"{META}/manifest.json"  # of a table
PLAN: Final = f"{META}/plan.json"
RECEIPTS: Final = f"{META}/{FOLDER}"  # of a table that is unfinished
GOALS: Final = f"{META}/goals.parquet"  # of a reward set: its goals as resolved
GOAL_SET: Final = f"{META}/goals.json"  # of a reward set: its goal set as given
HEAD: Final = f"{META}/head.parquet"  # of a reward set with a head: what frames are compared with
HEAD_LABELS: Final = f"{META}/head_labels.parquet"  # likewise: the labels that it was made of
BINDING: Final = f"{META}/binding.npz"  # of an unfinished reward set: embedded goals, for workers


_BESIDE: Final = "beside"  # receipt of the files that are no slices
_Stamp = tuple[int, str | None]  # of a manifest: whether to parse it again


class Store:
    """Tables of one source, side by side.

    Example:
        >>> store = Store.open("/data/bridge.store")            # doctest: +SKIP
        >>> rewards = store.read("rewards/v1", ["reward"])       # doctest: +SKIP
    """

    def __init__(
        self, location: str, folder: Folder, manifest: StoreManifest, *, trust: bool = False
    ) -> None:
        self.location = location
        self.folder = folder
        self.manifest = manifest
        self.trust = trust  # of the files that are read, only sizes are compared
        self._parsed: dict[str, tuple[_Stamp, AnyTableManifest]] = {}  # manifests, by place
        self._listed: dict[str, tuple[AnyTableManifest, dict[str, TableFile]]] = {}  # by table
        self.slices = manifest.plan()

    @classmethod
    def open(cls, location: str, *, trust: bool = False) -> Store:
        """Opens an existing store.

        Args:
            location: directory or URL.
            trust: compare only the sizes of files that are read, and not what is in them.

        Raises:
            StoreError: there is none, or its manifest cannot be read.
        """
        folder = Folder.at(location)
        if not folder.exists(STORE_MANIFEST):
            raise StoreError(
                f"{location}: not a store (no {STORE_MANIFEST}); `vlm-relabel relabel` or "
                "`vlm-relabel embed` makes one"
            )
        text = folder.read(STORE_MANIFEST)
        origin = folder.join(STORE_MANIFEST)
        return cls(location, folder, parse_store_manifest(text, origin=origin), trust=trust)

    @classmethod
    def exists(cls, location: str) -> bool:
        """Whether `location` holds a store."""
        return Folder.at(location).exists(STORE_MANIFEST)

    @classmethod
    def create(cls, location: str, manifest: StoreManifest) -> Store:
        """Writes the plan of a new store; of several processes that do, one succeeds.

        Returns:
            The store; also if another process has just made it with the same plan.

        Raises:
            StoreError: one is there with another plan, or the location cannot be written.
        """
        folder = Folder.at(location)
        if folder.create(STORE_MANIFEST, manifest_bytes(manifest)):
            return cls(location, folder, manifest)
        there = cls.open(location)
        if differing := there.manifest.differences(manifest):
            raise StoreError(
                f"{location}: there is a store already, with another plan: "
                f"{'; '.join(differing)}; type the command again without these options, or choose "
                "another --store"
            )
        return there

    # --- tables

    def begin(self, manifest: AnyTableManifest, *, overwrite: bool = False) -> bool:
        """Starts or resumes a table; True if it is already complete.

        Args:
            manifest: what the table is to be.
            overwrite: delete a table that differs instead of refusing.

        Raises:
            StoreError: another table has this name; every difference is named.
        """
        if overwrite and self.differences(manifest):
            for folder in manifest.folders:
                self.folder.delete_folder(folder)
        self.check(manifest)
        plan = f"{manifest.table}/{PLAN}"
        if self.recorded(manifest.table) is None and not self.folder.create(
            plan, manifest_bytes(manifest)
        ):
            self.check(manifest)  # another process began it meanwhile
        if self.is_complete(manifest.table):
            self._clear(manifest)  # who completed it may have been killed before it did so
            return True
        self.folder.sweep(recursive=False)
        self._sweep(manifest)
        return False

    def differences(self, manifest: AnyTableManifest) -> list[str]:
        """What keeps a table from being the one that is there, or was begun, under its name."""
        existing = self.recorded(manifest.table)
        return [] if existing is None else existing.differences(manifest)

    def check(self, manifest: AnyTableManifest) -> None:
        """Raises StoreError, naming every difference, if another table has this name."""
        if differences := self.differences(manifest):
            named = manifest.kind in ("rewards", "goal_datasets")
            raise StoreError(
                f"{self.location}/{manifest.table}: exists and was made from other inputs:\n  "
                + "\n  ".join(differences)
                + f"\nchoose another {'--name, another ' if named else ''}--store, or --overwrite "
                "to replace it"
            )

    def finish(self, manifest: AnyTableManifest) -> None:
        """Writes the manifest that makes a table complete, and clears what it supersedes.

        Raises:
            StoreError: a slice has no file.
        """
        listed = {file.file for file in manifest.files if file.table == manifest.table}
        missing = [piece.file for piece in self.slices if piece.file not in listed]
        if missing:
            raise StoreError(
                f"{manifest.table}: {len(missing)} of {len(self.slices)} slices are missing, "
                f"such as {missing[0]}; run the same command again to resume"
            )
        content = manifest_bytes(manifest)
        self.folder.write(f"{manifest.table}/{MANIFEST}", content)
        self._clear(manifest)

    def _clear(self, manifest: AnyTableManifest) -> None:
        """Removes what the manifest of a complete table supersedes."""
        self.folder.delete(f"{manifest.table}/{PLAN}")
        if isinstance(manifest, RewardManifest):
            self.folder.delete(f"{manifest.table}/{BINDING}")
        self.folder.delete_folder(f"{manifest.table}/{RECEIPTS}")
        self._sweep(manifest)

    def _sweep(self, manifest: AnyTableManifest) -> None:
        """Removes what killed writers left of a table."""
        for folder in manifest.folders:
            below = (folder, f"{folder}/{META}", f"{folder}/{RECEIPTS}")
            for place in below if self.folder.is_local else (folder,):
                self.folder.sweep(place, recursive=not self.folder.is_local)

    def is_complete(self, table: str) -> bool:
        """Whether the table has its manifest."""
        return self._place(table, MANIFEST) is not None

    def table_manifest(self, table: str) -> AnyTableManifest:
        """The manifest of a complete table.

        Raises:
            StoreError: there is no such table, or it is unfinished; says what resumes it.
        """
        if place := self._place(table, MANIFEST):
            return self._parse(place)
        recorded = self.recorded(table)
        if recorded is not None:
            raise StoreError(f"{self.location}/{table}: {self._to_finish(recorded)}")
        known = self.tables() or ["none"]
        raise StoreError(f"{self.location}: no table {table!r}; there are {', '.join(known)}")

    def _to_finish(self, manifest: AnyTableManifest) -> str:
        """How far an unfinished table is, and what completes it."""
        there = self.folder.states(manifest.table)
        count, expected = sum(piece.file in there for piece in self.slices), len(self.slices)
        how = f"resume it with:\n  {manifest.command or 'the command that began it'}"
        if count == expected:  # of a job array, or of a job that was killed at its end
            finish = shlex.join(["vlm-relabel", "finish", self.location])
            how = f"complete it with:\n  {finish}\nor {how}"
        return f"unfinished ({count} of {expected} slices); {how}"

    def tables(self) -> list[str]:
        """Names of the complete tables."""
        return self._with(MANIFEST)

    def unfinished(self) -> list[str]:
        """Names of the tables that were begun and not finished."""
        return [table for table in self._with(PLAN) if not self.is_complete(table)]

    def abandoned(self) -> list[str]:
        """Names of the folders of slices that have neither manifest nor plan, and should."""
        names = self.folder.names("", recursive=True)
        slices = (name for name in names if "/slice-" in f"/{name}" and f"/{META}/" not in name)
        holding = {name.rpartition("/")[0] for name in slices}
        told = {*self._with(MANIFEST), *self._with(PLAN)}
        return sorted(table for table in holding if _owner(table) not in told)

    def embeddings(self, *, unfinished: bool = False) -> list[EmbeddingManifest]:
        """Manifests of the complete embedding tables, or of those that are unfinished."""
        names = self.unfinished() if unfinished else self.tables()
        manifests = (self.recorded(t) for t in names if t.startswith("embeddings/"))
        return [m for m in manifests if isinstance(m, EmbeddingManifest)]

    def rewards(self, name: str) -> RewardManifest:
        """Manifest of a complete reward set.

        Raises:
            StoreError: as `table_manifest`.
        """
        manifest = self.table_manifest(f"rewards/{name}")
        if not isinstance(manifest, RewardManifest):
            raise StoreError(f"{self.location}/rewards/{name}: its manifest is of another kind")
        return manifest

    def goals(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The goals of a complete reward set; row i is place i of the goal axis.

        Raises:
            StoreError: as `table_manifest`.
        """
        return self.beside_rewards(name, GOALS, columns)

    def beside_rewards(
        self, name: str, file: str, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """A Parquet file of a complete reward set that is no slice: `GOALS`, `HEAD`, …

        Raises:
            StoreError: as `table_manifest`; the file is not there, or cannot be read.
        """
        place = self._beside_rewards(name, file)
        content = pa.BufferReader(self.folder.read(place))
        try:
            return pq.read_table(content, columns=columns)
        except (pa.ArrowInvalid, OSError) as error:
            raise StoreError(f"{self.folder.join(place)}: cannot be read: {error}") from error

    def goal_set(self, name: str) -> GoalSet:
        """The goal set of a complete reward set, as it was given.

        Raises:
            StoreError: as `table_manifest`.
        """
        file = self._beside_rewards(name, GOAL_SET)
        origin = self.folder.join(file)
        try:
            content = parse_json(self.folder.read(file))
        except ValueError as error:
            raise StoreError(f"{origin}: not JSON: {error}") from error
        return GoalSet.from_mapping(content, origin=origin)

    def _beside_rewards(self, name: str, file: str) -> str:
        """Path of a file of a complete reward set that is no slice."""
        table = self.rewards(name).table
        place = self._place(table, file) or f"{table}/{file}"
        self._check(table, place.removeprefix(f"{table}/"))
        return place

    def _with(self, file: str) -> list[str]:
        return sorted(table for table in self._folders() if self._place(table, file))

    def _folders(self) -> Iterator[str]:
        """Folders that may be tables. Those that are any are not looked into: that takes long."""
        for first in self.folder.folders(""):
            if any(self._place(first, file) for file in (MANIFEST, PLAN)):
                yield first
            else:
                yield from (f"{first}/{name}" for name in self.folder.folders(first))

    def _place(self, table: str, file: str) -> str | None:
        """Path of a file of a table that is no slice; None if there is none."""
        places = [f"{table}/{file}"]
        if self._is_of_first_format:
            places.append(f"{table}/{_first_format(file)}")
        return next((place for place in places if self.folder.exists(place)), None)

    @property
    def _is_of_first_format(self) -> bool:
        """Whether tables may lie here that format 1 wrote; new ones may lie beside them."""
        return self.manifest.format_version.split(".")[0] == "1"

    def recorded(self, table: str) -> AnyTableManifest | None:
        """The manifest of a table, or the plan of one that was begun; None if there is neither."""
        for file in (MANIFEST, PLAN, MANIFEST):  # another process may finish it in between
            place = self._place(table, file)
            manifest = None if place is None else self._parsed_if_there(place)
            if manifest is not None:
                return manifest
        return None

    def _parsed_if_there(self, place: str) -> AnyTableManifest | None:
        try:
            return self._parse(place)
        except StoreError:
            if self.folder.exists(place):
                raise
            return None

    def _parse(self, name: str) -> AnyTableManifest:
        info = self.folder.info(name)
        stamp = (info.size, info.version)
        known = self._parsed.get(name)
        if known is None or known[0] != stamp or info.version is None:
            manifest = parse_manifest(self.folder.read(name), origin=self.folder.join(name))
            known = self._parsed[name] = (stamp, manifest)
        return known[1]

    def _check(self, table: str, file: str) -> None:
        """Holds a file against what is recorded of it, if anything is."""
        if known := self._recorded_file(table, file):
            check_file(self.folder, known, trust=self.trust)

    def _recorded_file(self, table: str, file: str) -> TableFile | None:
        owner = _owner(table)
        if place := self._place(owner, MANIFEST):
            return self._listed_in(place, table).get(file)
        told = self._receipt(owner, file)
        files = () if told is None else told.files
        return next((f for f in files if (f.table, f.file) == (table, file)), None)

    def _receipt(self, owner: str, file: str) -> Receipt | None:
        """What is recorded of a slice of an unfinished table; None: nothing is.

        A table that was complete before lists in its plan what is to be kept.
        """
        told = read_receipt(self.folder, f"{owner}/{RECEIPTS}", file)
        if told is not None:
            return told
        place = self._place(owner, PLAN)
        manifest = None if place is None else self._parsed_if_there(place)
        if place is None or manifest is None or not manifest.files:
            return None
        tables = manifest.folders[1:] + manifest.folders[:1]  # its own file is the last
        found = (self._listed_in(place, table).get(file) for table in tables)
        files = tuple(known for known in found if known is not None)
        return Receipt(files=files) if files else None

    def _listed_in(self, place: str, table: str) -> dict[str, TableFile]:
        """What a manifest or plan lists of one folder, by file name."""
        manifest = self._parse(place)
        known = self._listed.get(table)
        if known is None or known[0] is not manifest:
            listed = {f.file: f for f in manifest.files if f.table == table}
            known = self._listed[table] = (manifest, listed)
        return known[1]

    # --- slices

    def has(self, table: str, piece: Slice) -> bool:
        """Whether the slice is committed."""
        return self.folder.exists(f"{table}/{piece.file}")

    def committed(
        self, manifest: AnyTableManifest, piece: Slice, state: FileState | None = None
    ) -> tuple[TableFile, ...]:
        """What the manifest will list of a slice that is there already, its own file last.

        Args:
            manifest: of a table that is unfinished.
            piece: the slice.
            state: of its own file, if that is known already.

        Returns:
            Its files; () if it is not there, or no longer what was committed: it is to be made
            anew then.

        Raises:
            StoreError: the file belongs to another table.
        """
        table = manifest.table
        if state is None:
            state = self.folder.info(f"{table}/{piece.file}")
        if not state.is_file:
            return ()
        told = self._receipt(table, piece.file)
        if told is not None:
            return told.files if self._is_as_told(told, state) else ()
        tables = [t for t in manifest.folders[1:] if self.has(t, piece)]
        try:
            return tuple(self._described(t, piece, manifest.fingerprint) for t in (*tables, table))
        except DamagedError:
            return ()

    def _is_as_told(self, told: Receipt, state: FileState) -> bool:
        """Whether a slice's files are those of its receipt; its own is not read if none touched it.

        Of a file that is read, every checksum is compared: the manifest gets them as they are.
        """
        *others, own = told.files
        touched = told.version is None or (own.bytes, told.version) != (state.size, state.version)
        files = told.files if touched else others
        return not any(file_problem(self.folder, f, trust=self.trust, every=True) for f in files)

    def _described(self, table: str, piece: Slice, fingerprint: str) -> TableFile:
        """What there is to say of a file that has no receipt."""
        name = f"{table}/{piece.file}"
        metadata = self._footer(name)
        found = fingerprint_of(metadata)
        if found != fingerprint:
            raise StoreError(
                f"{self.folder.join(name)}: belongs to another table (fingerprint "
                f"{found[:8] or 'none'}, expected {fingerprint[:8]}); --overwrite replaces it"
            )
        sums = self.folder.checksums(name)
        return TableFile(
            table=table,
            file=piece.file,
            rows=metadata.num_rows,
            bytes=self.folder.size(name),
            sha256=sums.sha256,
            crc32c=sums.crc32c,
        )

    def record(self, table: str, piece: Slice, files: Sequence[TableFile]) -> None:
        """Writes down what was committed of a slice, for those who resume the table.

        Args:
            table: name of the table.
            piece: the slice.
            files: everything that was committed of it, its own file last.
        """
        versions = [note_whole(self.folder, file) for file in files]
        if not self.is_complete(table):  # another process may have finished it
            write_receipt(
                self.folder, f"{table}/{RECEIPTS}", piece.file, files, version=versions[-1]
            )

    def record_beside(self, table: str, files: Sequence[TableFile]) -> None:
        """Writes down which files of a table that is unfinished are no slices: its goals."""
        write_receipt(self.folder, f"{table}/{RECEIPTS}", _BESIDE, files)

    def beside(self, manifest: AnyTableManifest) -> tuple[TableFile, ...] | None:
        """What the manifest of an unfinished table will list beside its slices.

        Returns:
            The files; None if one is missing or has changed.
        """
        told = read_receipt(self.folder, f"{manifest.table}/{RECEIPTS}", _BESIDE)
        if told is None:
            return None if isinstance(manifest, RewardManifest) else ()
        if any(file_problem(self.folder, file, every=True) for file in told.files):
            return None
        return told.files

    def discard(self, table: str, piece: Slice) -> None:
        """Removes a slice's file of a table; it may be gone already."""
        self.folder.delete(f"{table}/{piece.file}")

    def metadata(self, table: str, piece: Slice) -> dict[bytes, bytes]:
        """What the footer of a committed slice says beside its schema."""
        return dict(self._footer(f"{table}/{piece.file}").metadata or {})

    def rows(self, table: str, file: str) -> int:
        """Rows of a committed slice, from its footer."""
        return int(self._footer(f"{table}/{file}").num_rows)

    def footer(self, table: str, file: str) -> pq.FileMetaData:
        """Footer of a file of a table.

        Raises:
            StoreError: it is no whole Parquet file.
        """
        return self._footer(f"{table}/{file}")

    def _footer(self, name: str) -> pq.FileMetaData:
        path = self.folder.join(name)
        with (
            self.folder.reaching(name),
            self.folder.filesystem.open_input_file(path) as stream,
        ):
            try:
                return pq.read_metadata(stream)
            except (pa.ArrowInvalid, OSError) as error:
                if getattr(error, "errno", None) is not None:  # the disk's or the network's
                    raise
                raise DamagedError(f"{path}: not a whole Parquet file: {error}") from error

    def batches(
        self,
        table: str,
        piece: Slice,
        columns: Sequence[str] | None = None,
        rows: int | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """A committed slice, some rows at a time.

        Args:
            table: name of the table; it may still be unfinished.
            piece: the slice.
            columns: to read; None reads all.
            rows: of a batch, at most; None: as a row group of narrow rows has.

        Raises:
            StoreError: the file is missing or damaged.
        """
        self._check(table, piece.file)
        name = self.folder.join(f"{table}/{piece.file}")
        try:
            with (
                self.folder.reaching(name),
                self.folder.filesystem.open_input_file(name) as stream,
            ):
                file = pq.ParquetFile(stream)
                yield from file.iter_batches(rows or slice_writer.ROW_GROUP_ROWS, columns=columns)
        except (pa.ArrowInvalid, OSError) as error:
            raise StoreError(f"{name}: cannot be read: {error}") from error

    def read(self, table: str, columns: Sequence[str] | None = None) -> pa.Table:
        """All slices of a complete table in order; memory is that of the columns asked for.

        Raises:
            StoreError: unfinished, missing or damaged.
        """
        self.table_manifest(table)
        return self.read_slices(table, self.slices, columns)

    def read_slices(
        self, table: str, slices: Sequence[Slice], columns: Sequence[str] | None = None
    ) -> pa.Table:
        """As `read`, of some slices of a table that may still be unfinished."""
        return pa.concat_tables([self._read_slice(table, piece, columns) for piece in slices])

    def _read_slice(self, table: str, piece: Slice, columns: Sequence[str] | None) -> pa.Table:
        self._check(table, piece.file)
        name = self.folder.join(f"{table}/{piece.file}")
        try:
            with (
                self.folder.reaching(name),
                self.folder.filesystem.open_input_file(name) as stream,
            ):
                return pq.read_table(stream, columns=columns)
        except (pa.ArrowInvalid, OSError) as error:
            raise StoreError(f"{name}: cannot be read: {error}") from error

    def join(self, tables: Sequence[str], piece: Slice) -> Iterator[tuple[pa.RecordBatch, ...]]:
        """Row groups of one slice of several per-frame tables, side by side.

        Raises:
            StoreError: the tables do not have the same rows in the same order.
        """
        streams = [self.batches(table, piece) for table in tables]
        for batches in itertools.zip_longest(*streams):
            if None in batches:
                raise StoreError(
                    f"{', '.join(tables)}, {piece.name}: the tables have different numbers of rows"
                )
            for table, batch in zip(tables[1:], batches[1:], strict=True):
                check_same_rows(batches[0], batch, f"{tables[0]} and {table}, {piece.name}")
            yield batches

    def writer(
        self, table: str, piece: Slice, schema: pa.Schema, *, fingerprint: str
    ) -> SliceWriter:
        """A writer for one slice of a table; see `SliceWriter`."""
        return SliceWriter(self.folder, table, piece, schema, fingerprint)


def _owner(table: str) -> str:
    """The table whose manifest lists the files of `table`: that itself, or one it belongs to."""
    head, _, rest = table.partition("/")
    if head == "dead_letters":
        return rest
    if head in ("transitions", "left_out", "goal_datasets"):  # the last: format 1 had them below
        return f"goal_datasets/{rest.split('/')[0]}"
    return table


def fingerprint_of(footer: pq.FileMetaData) -> str:
    """Of the table that a file belongs to, from its footer; "" if that does not say."""
    return bytes((footer.metadata or {}).get(fields.FINGERPRINT, b"")).decode()


def _first_format(file: str) -> str:
    """Where format 1 had a file of a table that is no slice: beside the slices."""
    return file.removeprefix(f"{META}/")


def check_same_rows(
    left: pa.RecordBatch | pa.Table, right: pa.RecordBatch | pa.Table, where: str
) -> None:
    """Raises StoreError unless both have the same `episode_id, step` in the same order."""
    if left.num_rows != right.num_rows:
        raise StoreError(f"{where}: {left.num_rows} rows against {right.num_rows}")
    for key in (fields.EPISODE_ID, fields.STEP):
        if not left.column(key).equals(right.column(key)):
            raise StoreError(
                f"{where}: column {key!r} differs; the tables belong to different sources"
            )
