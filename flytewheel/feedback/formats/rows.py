"""Rows of other people's files, one after the other in bounded memory: what each holds, and the bytes that it came in.

Read are `.jsonl`, `.ndjson`, `.json` (an array, one object, or a page with its rows under `data`), `.csv`, each also
gzipped, `.parquet`, and folders: of a data set that `datasets` saved to disk (arrow), or of such files. A row that is
no object is a row with a reason. An array that breaks in the middle goes on at the next `}, {` whose first field is
that of a row.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from flytewheel.errors import FeedbackError
from flytewheel.feedback.lines import Fault, read_chunks, split_lines

MAX_ROW_BYTES = 16 << 20  # a trace with its observations may be long; the records made of it may not
TABULAR = (".parquet", ".arrow")
READABLE = (".jsonl", ".ndjson", ".json", ".csv", *TABULAR)

_MAX_OBJECT_BYTES = 256 << 20  # a file that is one JSON object is read whole
_PAGES = ("data", "rows", "traces", "observations", "scores", "items", "results")
_NOT_A_PAGE = frozenset({"id", "messages", "prompt", "chosen", "input", "request", "traceId", "trace_id"})
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Row:
    """One row: `data`, or the `reason` why there is none; `split` is the part of a data set that it lies in."""

    data: dict[str, Any] | None
    raw: bytes
    reason: str | None = None
    split: str | None = None


def list_files(path: Path) -> list[tuple[Path, str | None]]:
    """Lists the files to read at `path`, each with the part of the data set that it belongs to, if it says so.

    Raises:
        FeedbackError: nothing can be read there.
    """
    if not path.is_dir():
        if not path.exists():
            raise FeedbackError(f"{path}: cannot be read (No such file or directory); expected one of {_say_kinds()}")
        if _kind_of(path) not in READABLE:
            raise FeedbackError(f"{path}: expected a file named {_say_kinds()}, or a folder of them; got {path.name!r}")
        return [(path, None)]
    found = [*_list_saved(path)] or [
        (each, None)
        for each in sorted(path.rglob("*"))
        if each.is_file() and _kind_of(each) in READABLE and each.name not in {"dataset_infos.json", "state.json"}
    ]
    if not found:
        raise FeedbackError(
            f"{path}: no data set is there; expected what datasets.save_to_disk writes, or {_say_kinds()}"
        )
    return found


def read_rows(path: Path) -> Iterator[Row]:
    """Reads every row at `path`, a file or a folder.

    Raises:
        FeedbackError: nothing can be read there, or a table is damaged.
    """
    for file, split in list_files(path):
        kind = _kind_of(file)
        if kind in TABULAR:
            rows = _read_table(file)
        elif kind == ".csv":
            rows = _read_csv(file)
        elif kind == ".json":
            rows = _read_json(file)
        else:
            rows = _read_lines(file)
        for row in rows:
            yield row if split is None else Row(row.data, row.raw, row.reason, split)


def _say_kinds() -> str:
    return ", ".join(f"*{kind}" for kind in READABLE)


def _kind_of(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else "".join(suffixes[-1:])


def _list_saved(path: Path) -> Iterator[tuple[Path, str | None]]:
    """The files of a folder that `datasets` saved: a set, or a dictionary of sets with the split's name each."""
    try:
        if (path / "dataset_dict.json").exists():
            for split in json.loads((path / "dataset_dict.json").read_text())["splits"]:
                for file, _ in _list_saved(path / split):
                    yield file, str(split)
        elif (path / "state.json").exists():
            for entry in json.loads((path / "state.json").read_text())["_data_files"]:
                yield path / entry["filename"], None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FeedbackError(f"{path}: not a data set as datasets.save_to_disk writes it ({error})") from None


def _read_table(path: Path) -> Iterator[Row]:
    pyarrow = import_module("pyarrow")  # untyped, and half a second
    try:
        if path.suffix.lower() == ".parquet":
            batches = import_module("pyarrow.parquet").ParquetFile(path).iter_batches(batch_size=256)
        else:
            batches = _open_arrow(pyarrow, path)
        for batch in batches:
            for data in batch.to_pylist():
                yield Row(data, json.dumps(data, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace"))
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise FeedbackError(
            f"{path}: not a whole table ({' '.join(str(error).split())[:200]}); fetch it again"
        ) from None


def _open_arrow(pyarrow: Any, path: Path) -> Iterator[Any]:
    """Batches of an arrow file: `datasets` writes the streaming form, others the one with a footer."""
    with pyarrow.memory_map(str(path)) as source:
        if source.read(6) == b"ARROW1":
            reader = pyarrow.ipc.open_file(source)
            yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
        else:
            source.seek(0)
            yield from pyarrow.ipc.open_stream(source)


def _read_csv(path: Path) -> Iterator[Row]:
    """Rows of a CSV file; a cell that holds a JSON object, array, number or truth is read as that."""
    csv.field_size_limit(MAX_ROW_BYTES)
    damage: list[str] = []
    reader = csv.DictReader(_split_text(path, damage))
    try:
        for cells in reader:
            raw = json.dumps(cells, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace")
            if None in cells or None in cells.values():
                yield Row(None, raw, damage[0] if damage else "not an object")
            else:
                yield Row({name: _read_cell(cell) for name, cell in cells.items()}, raw)
    except csv.Error as error:
        raise FeedbackError(f"{path}: not CSV near line {reader.line_num} ({error}); export it as JSONL") from None
    if damage:
        yield Row(None, f"{path.name} near line {reader.line_num}".encode(), damage[0])


def _read_cell(cell: str) -> Any:
    if not cell:
        return None
    if cell[0] in '{["' or cell in {"true", "false", "null"}:
        try:
            return json.loads(cell)
        except (ValueError, RecursionError):
            return cell
    return cell


def _read_text(path: Path, damage: list[str]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    first = True
    for chunk in read_chunks(path):
        if isinstance(chunk, str):
            damage.append(chunk)
            return
        text = decoder.decode(chunk)
        yield text.removeprefix("\ufeff") if first else text
        first = False
    yield decoder.decode(b"", final=True)


def _split_text(path: Path, damage: list[str]) -> Iterator[str]:
    pending = ""
    for text in _read_text(path, damage):
        *whole, pending = (pending + text).replace("\x00", "\ufffd").split("\n")
        yield from (f"{line}\n" for line in whole)
    if pending:
        yield pending


def _read_lines(path: Path) -> Iterator[Row]:
    for _, raw, damage in split_lines(path, limit=MAX_ROW_BYTES):
        if isinstance(raw, Fault):
            yield Row(None, raw.line.encode(), raw.reason)
        elif damage:
            yield Row(None, raw, damage)
        elif text := raw.strip():
            yield _parse(text)


def _parse(raw: bytes) -> Row:
    try:
        data = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError:
        return Row(None, raw, "not UTF-8")
    except RecursionError:
        return Row(None, raw, "nested too deeply")
    except ValueError:
        return Row(None, raw, "not JSON")
    return _make_row(data, raw)


def _make_row(data: Any, raw: bytes) -> Row:
    if not isinstance(data, dict):
        return Row(None, raw, "not an object")
    inner = data.get("row")  # a page of the hub's viewer
    return Row(inner if "row_idx" in data and isinstance(inner, dict) else data, raw)


def _read_json(path: Path) -> Iterator[Row]:
    """An array, one object, a page of rows, or lines in a file that is named `.json` all the same."""
    damage: list[str] = []
    stream = _read_text(path, damage)
    head = ""
    for text in stream:
        head = (head + text).lstrip()
        if head:
            break
    if head.startswith("["):
        yield from _split_array(head[1:], stream, damage)
        return
    parts, size = [head], len(head)
    for text in stream:
        parts.append(text)
        size += len(text)
        if size > _MAX_OBJECT_BYTES:
            break
    else:
        text = "".join(parts)
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            yield from _unwrap(found, text)
            return
    yield from _read_lines(path)


def _unwrap(data: dict[str, Any], text: str) -> Iterator[Row]:
    pages = [] if _NOT_A_PAGE & data.keys() else [data[name] for name in _PAGES if isinstance(data.get(name), list)]
    if not pages:
        yield _make_row(data, _encode(text))
    for row in (row for page in pages for row in page):
        yield _make_row(row, json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _split_array(buffer: str, stream: Iterator[str], damage: Sequence[str]) -> Iterator[Row]:
    """Rows of an array behind its `[`. More text is read, twice as much each time, until the next row is whole."""
    start, wanted, ended = 0, 1 << 16, False
    next_row = re.compile(r"\}\s*,\s*(?=\{)")
    while True:
        while start < len(buffer) and buffer[start] in " \t\r\n,":
            start += 1
        try:
            if start == len(buffer) or buffer[start] == "]":
                raise json.JSONDecodeError("no row", buffer, start)
            data, end = _DECODER.raw_decode(buffer, start)
            if end == len(buffer) and not ended:
                raise json.JSONDecodeError("a number may go on", buffer, end)
        except (json.JSONDecodeError, RecursionError) as error:
            if not ended and len(buffer) - start < MAX_ROW_BYTES and buffer[start : start + 1] != "]":
                buffer, start = buffer[start:], 0
                more = list(_take(stream, wanted))
                buffer, wanted, ended = buffer + "".join(more), wanted * 2, not more
                continue
            rest = buffer[start:].strip()
            if rest in {"", "]"} and not damage:
                return
            broken = next_row.search(buffer, start)
            end = broken.end() if broken and rest[:1] != "]" else len(buffer)
            reason = "nested too deeply" if isinstance(error, RecursionError) else "not JSON"
            if end == len(buffer):
                reason = damage[0] if damage else reason
                if not ended:
                    for _ in stream:  # to learn whether the file itself broke off
                        pass
                yield Row(None, _encode(buffer[start : start + MAX_ROW_BYTES]), damage[0] if damage else reason)
                return
            yield Row(None, _encode(buffer[start:end]), reason)
            start = end
            continue
        yield _make_row(data, _encode(buffer[start:end]))
        if isinstance(data, dict) and data:
            next_row = re.compile(r"\}\s*,\s*(?=\{\s*" + re.escape(json.dumps(next(iter(data)))) + ")")
        start, wanted = end, 1 << 16
        if start > 1 << 20:
            buffer, start = buffer[start:], 0


def _take(stream: Iterator[str], wanted: int) -> Iterator[str]:
    size = 0
    for text in stream:
        size += len(text)
        yield text
        if size >= wanted:
            return


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape" if text.isascii() else "backslashreplace")


def read_all(paths: Sequence[Path]) -> Iterator[Row]:
    """Reads the rows of several files or folders, in the order given.

    Raises:
        FeedbackError: as `read_rows`.
    """
    for path in paths:
        yield from read_rows(path)
