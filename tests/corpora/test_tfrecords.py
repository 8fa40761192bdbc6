"""TFRecord files: what TensorFlow writes is read, and what is written is what TensorFlow reads."""

import pytest

from crywatch.corpora.shared.tfrecords import (
    SequenceExample,
    frame,
    read_records,
    serialised,
    write_records,
)

RECORD = SequenceExample(
    {"id": (b"abc",), "times": (0.5, 30.0), "labels": (3, -1, 2**40), "nothing": ()},
    {"steps": ((b"\x00\xff",), (b"", b"x")), "numbers": ((1,), (2, 3))},
)


def tensorflows(tf, record):
    """The same record as TensorFlow's own message."""
    kinds = {
        bytes: lambda v: tf.train.Feature(bytes_list=tf.train.BytesList(value=v)),
        float: lambda v: tf.train.Feature(float_list=tf.train.FloatList(value=v)),
        int: lambda v: tf.train.Feature(int64_list=tf.train.Int64List(value=v)),
    }

    def feature(values):
        return kinds[type(values[0])](values) if values else tf.train.Feature()

    return tf.train.SequenceExample(
        context=tf.train.Features(
            feature={key: feature(values) for key, values in record.context.items()}
        ),
        feature_lists=tf.train.FeatureLists(
            feature_list={
                key: tf.train.FeatureList(feature=list(map(feature, steps)))
                for key, steps in record.lists.items()
            }
        ),
    )


def test_what_tensorflow_writes_is_read(tmp_path):
    tf = pytest.importorskip("tensorflow")
    path = tmp_path / "0.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for _ in range(2):
            writer.write(tensorflows(tf, RECORD).SerializeToString())
    assert list(read_records(path)) == [RECORD, RECORD]


def test_what_is_written_is_what_tensorflow_reads(tmp_path):
    tf = pytest.importorskip("tensorflow")
    write_records(tmp_path / "deep" / "0.tfrecord", [RECORD])
    (data,) = tf.data.TFRecordDataset(str(tmp_path / "deep" / "0.tfrecord")).as_numpy_iterator()
    assert tf.train.SequenceExample.FromString(data) == tensorflows(tf, RECORD)


def test_records_come_back(tmp_path):
    write_records(tmp_path / "0.tfrecord", [RECORD, SequenceExample({}, {})])
    assert list(read_records(tmp_path / "0.tfrecord")) == [RECORD, SequenceExample({}, {})]


def test_the_frame_by_hand():
    # 0xE3069283 is the check value of CRC-32C: that of "123456789".
    masked = ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF
    data = frame(b"123456789")
    assert data[:8] == (9).to_bytes(8, "little") and data[12:21] == b"123456789"
    assert data[21:] == masked.to_bytes(4, "little")


def test_equal_records_give_equal_bytes():
    turned = SequenceExample(
        dict(reversed(RECORD.context.items())), dict(reversed(RECORD.lists.items()))
    )
    assert turned == RECORD
    assert serialised(turned) == serialised(RECORD)
