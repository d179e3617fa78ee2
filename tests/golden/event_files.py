"""Writes event_files/, the event files that telemetry's tests expect byte for byte, with TensorBoard's own messages and
framing, and reads them back with the reader behind TensorBoard.

tensorboard 2.21.0, protobuf 7.36.2, numpy 2.4.6. Nothing is random."""
import math
import pathlib

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.summary.writer.record_writer import RecordWriter

START = 1763906709.125
folder = pathlib.Path(__file__).parent / "event_files"
folder.mkdir(exist_ok=True)


def scalars(prefix, **values):
    return [Summary.Value(tag=f"{prefix}/{name}", simple_value=value) for name, value in values.items()]


def text(tag, markdown):
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    tensor = TensorProto(dtype=DT_STRING, tensor_shape=shape, string_val=[markdown.encode()])
    plugin = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    return [Summary.Value(tag=tag, tensor=tensor, metadata=plugin)]


def event(tick, step, values):
    return Event(wall_time=START + tick * 0.125, step=step, summary=Summary(value=values))


def step(tick, number, loss):
    values = {"loss": loss, "grad_norm": math.nan, "learning_rate": 1e-5, "tokens_per_second": math.inf,
              "rewards/chrf++/mean": 0.0, "time/rollout": 18.25}
    return event(tick, number, scalars("train", **values))


SAMPLE = "**prompt**\n\n    Hello,\n    world\n\n**completion**\n\n    こんにちは\n\n**reward**\n\n    0.5\n\n"
processes = [
    [
        event(0, 0, scalars("eval", loss=2.5) + scalars("eval/en-ja", chrf=63.1) + text("eval/samples/en-ja", SAMPLE)),
        event(1, 0, scalars("system", cpu_percent=12.5, memory_total_bytes=2.0**34, **{"gpu/0/power_watts": 310.5})),
        step(2, 1, 3.0),
        step(4, 2, 2.0),
    ],
    [
        Event(wall_time=START + 0.625, step=2, session_log=SessionLog(status=SessionLog.START)),
        step(6, 2, 1.75),
    ],
]
for number, events in enumerate(processes):
    first = events[0]
    path = folder / f"events.out.tfevents.{int(START):010}.{number:04}"
    with open(path, "wb") as file:
        writer = RecordWriter(file)
        version = Event(wall_time=first.wall_time, file_version="brain.Event:2")
        for message in [version, *events]:
            writer.write(message.SerializeToString(deterministic=True))

reader = EventAccumulator(str(folder))
reader.Reload()
losses = [(point.step, point.value) for point in reader.Scalars("train/loss")]
assert losses == [(1, 3.0), (2, 1.75)], losses
assert [point.value for point in reader.Scalars("train/rewards/chrf++/mean")] == [0.0, 0.0]
assert math.isnan(reader.Scalars("train/grad_norm")[0].value)
assert [point.step for point in reader.Scalars("eval/en-ja/chrf")] == [0]
assert reader.Tensors("eval/samples/en-ja")[0].tensor_proto.string_val[0].decode() == SAMPLE
assert reader.PluginTagToContent("text") == {"eval/samples/en-ja": b""}
