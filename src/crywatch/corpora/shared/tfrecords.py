"""TFRecord files of SequenceExamples, read and written without TensorFlow.

TensorFlow's own reader takes some files that are cut off for whole ones (2.21,
``tf.data.TFRecordDataset``). The package `tfrecord` leaves the checksums out, and cannot be loaded
beside TensorFlow: both define the same messages in protobuf's one pool of names. Here the messages
have a pool of their own (tensorflow/core/example/*.proto; a map is a list of entries on the wire).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from crywatch.core.errors import TableError

# message -> fields: name, type, whether it is repeated; numbers are in this order, from 1
_MESSAGES: dict[str, tuple[tuple[str, str, bool], ...]] = {
    "Bytes": (("value", "BYTES", True),),
    "Floats": (("value", "FLOAT", True),),
    "Ints": (("value", "INT64", True),),
    "Feature": (("bytes", "Bytes", False), ("floats", "Floats", False), ("ints", "Ints", False)),
    "FeatureEntry": (("key", "STRING", False), ("value", "Feature", False)),
    "Features": (("feature", "FeatureEntry", True),),
    "FeatureList": (("feature", "Feature", True),),
    "FeatureListEntry": (("key", "STRING", False), ("value", "FeatureList", False)),
    "FeatureLists": (("feature_list", "FeatureListEntry", True),),
    "SequenceExample": (("context", "Features", False), ("feature_lists", "FeatureLists", False)),
}
_CRC_BYTES = 4
Values = Sequence[bytes] | Sequence[float] | Sequence[int]


@dataclass(frozen=True)
class SequenceExample:
    """One record; a feature without values is an empty tuple."""

    context: Mapping[str, tuple]  # name -> bytes, floats or integers
    lists: Mapping[str, tuple[tuple, ...]]  # name -> steps -> values


@cache
def _message() -> Any:
    """The class of the message."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="example", package="x", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind, repeated) in enumerate(fields, start=1):
            added = message.field.add(name=field, number=number, label=3 if repeated else 1)
            if kind in _MESSAGES:
                added.type, added.type_name = added.TYPE_MESSAGE, f".x.{kind}"
            else:
                added.type = getattr(added, f"TYPE_{kind}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("x.SequenceExample"))


def read_records(path: Path) -> Iterator[SequenceExample]:
    """The records of a file, one at a time; TableError names the file and the record (from 1)."""
    from google.protobuf.message import DecodeError

    number = 0
    with open(path, "rb") as handle:
        while True:
            number += 1
            where = f"{path}, record {number}"
            data = _read_frame(handle, where)
            if data is None:
                return
            try:
                message = _message().FromString(data)
            except DecodeError as error:
                raise TableError(f"{where}: no SequenceExample ({error})") from error
            lists = message.feature_lists.feature_list
            yield SequenceExample(
                {entry.key: _values(entry.value) for entry in message.context.feature},
                {entry.key: tuple(map(_values, entry.value.feature)) for entry in lists},
            )


def _values(feature: Any) -> tuple:
    return tuple(feature.bytes.value or feature.floats.value or feature.ints.value)


def _read_frame(handle: BinaryIO, where: str) -> bytes | None:
    """The next record's bytes; None at the end."""
    head = handle.read(8 + _CRC_BYTES)
    if not head:
        return None
    # Checked before it is believed: a damaged length could ask for all the memory there is.
    if len(head) < 8 + _CRC_BYTES or _checksum(head[:8]) != head[8:]:
        raise TableError(f"{where}: damaged or cut off (its length is not what was written)")
    (length,) = struct.unpack("<Q", head[:8])
    data, check = handle.read(length), handle.read(_CRC_BYTES)
    if len(data) < length or _checksum(data) != check:
        raise TableError(f"{where}: damaged or cut off (its checksum is wrong)")
    return data


def write_records(path: Path, records: Sequence[SequenceExample]) -> None:
    """Write a whole file; equal records give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(frame(serialised(record)) for record in records))


def serialised(record: SequenceExample) -> bytes:
    """``record`` as a SequenceExample."""
    message = _message()()
    for key, values in sorted(record.context.items()):
        entry = message.context.feature.add(key=key)
        _fill(entry.value, values)
    for key, steps in sorted(record.lists.items()):
        entry = message.feature_lists.feature_list.add(key=key)
        for values in steps:
            _fill(entry.value.feature.add(), values)
    return message.SerializeToString(deterministic=True)


def _fill(feature: Any, values: Values) -> None:
    kinds = {bytes: feature.bytes, float: feature.floats, int: feature.ints}
    if values:
        kinds[type(values[0])].value.extend(values)


def frame(data: bytes) -> bytes:
    """``data`` as it stands in the file: its length, itself, and the checksum of each."""
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    """CRC-32C, masked (tensorflow/core/lib/hash/crc32c.h)."""
    from crc32c import crc32c

    crc = crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)
