"""Writes and reads the parquet parts of a data set, row group by row group.

A row group is `ROW_GROUP` rows, or fewer where their texts pass `GROUP_BYTES`, counted over the rows alone: however the
rows come in, the same rows are the same bytes. A part is written under a temporary name and then takes its own, so that
a reader never meets half a file.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields
from functools import cache, lru_cache
from itertools import chain, islice, pairwise
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, get_args

from flytewheel.dataset.layout import COLUMNS, MAY_BE_NULL, RECORDS, schema_of
from flytewheel.errors import DatasetError
from flytewheel.records import Message

ROW_GROUP = 5_000
GROUP_BYTES = 64 << 20
SLICE = ROW_GROUP // 10  # rows turned into columns at once; a row group is whole slices
ZSTD_LEVEL = 1  # 8.5 µs and 497 bytes a row; level 3: 11.2 µs and 431 (SFT rows of 160 random words)

_ROLES = frozenset(get_args(Message.model_fields["role"].annotation))
_SAID = {
    "text": "a text",
    "texts": "a list of texts",
    "number": "a finite number",
    "count": "a whole number",
    "numbers": "a list of finite numbers",
    "truth": "true or false",
    "turns": "turns of role and content",
}
# Few values over and over; ids and texts never repeat, and a dictionary of them only costs.
_DICTIONARY = [
    "user",
    "topic",
    "source",
    "check",
    "origin",
    "reason",
    "prompt.list.element.role",
    "messages.list.element.role",
]
_STATISTICS = ["id", "user", "topic", "source", "reward", "quality", "margin", "weight", "event_id", "user_id"]


def write_rows(path: Path, kind: str, rows: Iterable[Any]) -> int:
    """Writes rows to the parquet file `path`, in the order in which they come, and holds no more than a row group.

    Args:
        path: the file, best `part_file(folder, kind, part)`; its folder is made. It appears when it is complete.
        kind: one of `KINDS` or "quarantined".
        rows: records of that kind, or mappings with their fields (`prompt` and `messages` of `Message` or
            `{"role", "content"}`; fields with a default may be left out).

    Returns:
        How many rows were written.

    Raises:
        DatasetError: a row has an unknown or missing field, a wrong type, a number that is not finite, or a text that
            UTF-8 cannot say. Nothing is written then, and what was there stays.
    """
    return write_batches(path, kind, encode_rows(rows, kind))


def encode_rows(rows: Iterable[Any], kind: str) -> Iterator[Any]:
    """The rows as pyarrow record batches of `SLICE` rows, the last one of fewer; see `write_rows`."""
    source, schema = iter(rows), schema_of(kind)
    before = 0
    while taken := list(islice(source, SLICE)):
        yield _encode(taken, kind, schema, before)
        before += len(taken)


def write_batches(path: Path, kind: str, batches: Iterable[Any]) -> int:
    """As `write_rows`, of record batches as `encode_rows` gives them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    schema = schema_of(kind)
    source = iter(batches)
    written = 0
    with _drafted(path) as draft, pq.ParquetWriter(draft, schema, **_options(kind)) as writer:
        while group := list(_take_group(source)):
            table = pa.Table.from_batches(group, schema=schema).combine_chunks()
            writer.write_table(table, row_group_size=ROW_GROUP)
            written += table.num_rows
    return written


def read_rows(path: Path, kind: str) -> Iterator[Any]:
    """Reads the records of a part one after the other, holding one row group.

    Raises:
        DatasetError: the file is damaged, or is not of this kind.
    """
    record, columns = RECORDS[kind], COLUMNS[kind]
    for batch in read_batches(path, kind):
        decoded = [_decode(batch.column(name), columns[name]) for name in columns]
        yield from (record(*values) for values in zip(*decoded, strict=True))


def read_batches(path: Path, kind: str) -> Iterator[Any]:
    """Reads a part as pyarrow record batches of at most `ROW_GROUP` rows.

    Raises:
        DatasetError: the file is damaged, or is not of this kind.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if not _extends(file.schema_arrow, kind):
                raise DatasetError(f"{path}: not a part of kind {kind!r}: its columns differ; curate again")
            for batch in file.iter_batches(batch_size=ROW_GROUP, use_threads=False):
                yield _complete(batch, kind)
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{path}: cannot be read ({_one_line(error)}); fetch or curate the data set again") from None


def _extends(found: Any, kind: str) -> bool:
    """Whether today's columns are those found, or those and further ones with a default."""
    wanted, defaults = schema_of(kind), _defaults(kind)
    return (
        all(
            wanted.field(name).equals(found.field(name)) if name in found.names else name in defaults
            for name in wanted.names
        )
        and list(found.names) == wanted.names[: len(found.names)]
    )


def _complete(batch: Any, kind: str) -> Any:
    import pyarrow as pa

    missing = list(COLUMNS[kind].items())[batch.num_columns :]
    if not missing:
        return batch
    added = [_encode_column([_defaults(kind)[name]] * batch.num_rows, shape) for name, shape in missing]
    return pa.record_batch([*batch.columns, *added], schema=schema_of(kind))


def count_rows(path: Path) -> int:
    """Rows of a part, from its footer; 0 where there is no file.

    Raises:
        DatasetError: the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        return 0
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{path}: cannot be read ({_one_line(error)}); fetch or curate the data set again") from None


@contextmanager
def _drafted(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place at the end, or is removed."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _options(kind: str) -> dict[str, Any]:
    names = COLUMNS[kind]
    return {
        "version": "2.6",
        "compression": "zstd",
        "compression_level": ZSTD_LEVEL,
        "store_schema": False,  # else Arrow's own schema is put into the file's metadata
        "use_dictionary": [name for name in _DICTIONARY if name.partition(".")[0] in names],
        "write_statistics": [name for name in _STATISTICS if name in names],
        "write_page_checksum": True,
    }


def _take_group(batches: Iterator[Any]) -> Iterator[Any]:
    """The record batches of the next row group."""
    count = size = 0
    while count < ROW_GROUP and size < GROUP_BYTES:
        batch = next(batches, None)
        if batch is None:
            return
        yield batch
        count += batch.num_rows
        size += batch.nbytes


def _encode(rows: Sequence[Any], kind: str, schema: Any, before: int) -> Any:
    import pyarrow as pa

    record = RECORDS.get(kind)
    if record is not None and all(type(row) is record for row in rows):
        values = zip(*map(attrgetter(*COLUMNS[kind]), rows), strict=True)
    else:
        values = zip(*(_take(row, kind, before + number) for number, row in enumerate(rows)), strict=True)
    arrays = []
    for (name, shape), column in zip(COLUMNS[kind].items(), values, strict=True):
        try:
            array = _encode_column(column, shape)
        except (pa.ArrowException, UnicodeError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise DatasetError(_fault(kind, name, shape, column, before, str(_one_line(error)))) from None
        if array.null_count and (kind, name) not in MAY_BE_NULL:
            raise DatasetError(_fault(kind, name, shape, column, before, "a value is missing"))
        arrays.append(array)
    return pa.record_batch(arrays, schema=schema)


def _take(row: Any, kind: str, number: int) -> tuple[Any, ...]:
    """The values of a record or a mapping, in the order of the columns."""
    names = COLUMNS[kind]
    if isinstance(row, RECORDS.get(kind, ())):
        return tuple(attrgetter(*names)(row))
    if not isinstance(row, Mapping):
        raise DatasetError(f"row {number:,}: expected a row of kind {kind!r} or a mapping, got {type(row).__name__}")
    if row.keys() == names.keys():
        return tuple(itemgetter(*names)(row))
    defaults = _defaults(kind)
    unknown = sorted(map(str, row.keys() - names.keys()))
    missing = [name for name in names if name not in row and name not in defaults]
    if unknown or missing:
        faults = [*(f"unknown field {name!r}" for name in unknown), *(f"no field {name!r}" for name in missing)]
        raise DatasetError(f"row {number:,} of kind {kind!r}: {', '.join(faults)}; expected {', '.join(names)}")
    return tuple(row[name] if name in row else defaults[name] for name in names)


@cache
def _defaults(kind: str) -> dict[str, Any]:
    record = RECORDS.get(kind)
    return {} if record is None else {each.name: each.default for each in fields(record) if each.default is not MISSING}


def _encode_column(values: Sequence[Any], shape: str) -> Any:
    import pyarrow as pa

    if shape == "text":
        return pa.array(values, pa.string())
    if shape == "truth":
        return pa.array(values, pa.bool_())
    if shape == "number":
        return _finite(pa.array(values, pa.float64()))
    if shape == "count":
        if any(isinstance(each, bool) for each in values):
            raise TypeError("yes and no are no numbers")
        return pa.array(values, pa.int64())
    flat = list(chain.from_iterable(values))
    if shape == "texts":
        if any(isinstance(each, str) for each in values):
            raise TypeError("a list of texts is wanted, not one text")
        return _nest(values, _whole(pa.array(flat, pa.string())))
    if shape == "numbers":
        return _nest(values, _finite(pa.array(flat, pa.float64())))
    roles = [turn.role if isinstance(turn, Message) else turn["role"] for turn in flat]
    if not _ROLES.issuperset(roles):
        raise TypeError(f"a role is none of {', '.join(sorted(_ROLES))}")
    contents = [turn.content if isinstance(turn, Message) else turn["content"] for turn in flat]
    turns = [_whole(pa.array(each, pa.string())) for each in (roles, contents)]
    return _nest(values, pa.StructArray.from_arrays(turns, ["role", "content"]))


def _nest(values: Sequence[Any], flat: Any) -> Any:
    import numpy as np
    import pyarrow as pa

    offsets = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum([len(each) for each in values], out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), flat)


def _whole(array: Any) -> Any:
    if array.null_count:
        raise TypeError("a value is missing inside a list")
    return array


def _finite(array: Any) -> Any:
    import pyarrow.compute as pc

    if pc.all(pc.is_finite(array)).as_py() is False:
        raise TypeError("a number is not finite")
    return array


def _fault(kind: str, name: str, shape: str, column: Sequence[Any], before: int, what: str) -> str:
    """Finds the first value at fault and says which row it is in."""
    at = next((number for number, value in enumerate(column) if not _fits(kind, name, shape, value)), None)
    row = "a row" if at is None else f"row {before + at:,}"
    return f"{row} of kind {kind!r}, field {name!r}: {what}; expected {_SAID[shape]}"


def _fits(kind: str, name: str, shape: str, value: Any) -> bool:
    import pyarrow as pa

    try:
        return _encode_column([value], shape).null_count == 0 or (kind, name) in MAY_BE_NULL
    except (pa.ArrowException, UnicodeError, TypeError, KeyError, AttributeError, OverflowError):
        return False


def _decode(array: Any, shape: str) -> Sequence[Any]:
    if shape in ("text", "number", "count", "truth"):
        return list(array.to_pylist())
    starts = array.offsets.to_pylist()
    spans = list(pairwise(starts))
    if shape != "turns":
        flat = array.values.to_pylist()
        return [tuple(flat[start:end]) for start, end in spans]
    turns = array.values
    messages = list(map(_message, turns.field("role").to_pylist(), turns.field("content").to_pylist()))
    return [tuple(messages[start:end]) for start, end in spans]


@lru_cache(maxsize=1024)  # one system turn opens thousands of prompts
def _message(role: Any, content: str) -> Message:
    return Message(role=role, content=content)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
