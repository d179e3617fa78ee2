//! The few protobuf messages that TensorBoard reads, by the numbers of their fields: `event.proto`,
//! `summary.proto` and `tensor.proto` of <https://github.com/tensorflow/tensorboard/tree/master/tensorboard/compat/proto>.

/// An encoded message.
pub(super) type Message = Vec<u8>;

/// `Event`: a time, a step, and one of the messages below as the field that it is.
pub(super) fn event(time_ms: u64, step: u64, what: Message) -> Message {
    let mut event = Message::new();
    put_f64(&mut event, 1, time_ms as f64 / 1000.0);
    if step > 0 {
        put_int(&mut event, 2, step);
    }
    event.extend(what);
    event
}

/// `Event.file_version`.
pub(super) fn file_version(version: &str) -> Message {
    field(3, version.as_bytes())
}

/// `Event.session_log` with the status `START`.
pub(super) fn session_start() -> Message {
    let mut session = Message::new();
    put_int(&mut session, 1, 1);
    field(7, &session)
}

/// `Event.summary`; nothing where there are no values.
pub(super) fn summary(values: impl Iterator<Item = Message>) -> Message {
    let values: Message = values.flat_map(|value| field(1, &value)).collect();
    match values.is_empty() {
        true => values,
        false => field(5, &values),
    }
}

/// `Summary.Value` with a number.
pub(super) fn scalar(tag: &str, value: f32) -> Message {
    let mut message = field(1, tag.as_bytes());
    put_key(&mut message, 2, WireType::Fixed32);
    message.extend(value.to_le_bytes());
    message
}

/// `Summary.Value` with a text in Markdown, for the plugin that shows texts.
pub(super) fn text(tag: &str, text: &str) -> Message {
    const DT_STRING: u64 = 7;
    let mut tensor = Message::new();
    put_int(&mut tensor, 1, DT_STRING);
    let mut size = Message::new();
    put_int(&mut size, 1, 1);
    tensor.extend(field(2, &field(2, &size)));
    tensor.extend(field(8, text.as_bytes()));
    let plugin = field(1, &field(1, b"text"));
    [
        field(1, tag.as_bytes()),
        field(8, &tensor),
        field(9, &plugin),
    ]
    .concat()
}

enum WireType {
    Varint = 0,
    Fixed64 = 1,
    Bytes = 2,
    Fixed32 = 5,
}

fn field(number: u64, bytes: &[u8]) -> Message {
    let mut message = Message::new();
    put_key(&mut message, number, WireType::Bytes);
    put_varint(&mut message, bytes.len() as u64);
    message.extend(bytes);
    message
}

fn put_int(message: &mut Message, number: u64, value: u64) {
    put_key(message, number, WireType::Varint);
    put_varint(message, value);
}

fn put_f64(message: &mut Message, number: u64, value: f64) {
    put_key(message, number, WireType::Fixed64);
    message.extend(value.to_le_bytes());
}

fn put_key(message: &mut Message, number: u64, wire_type: WireType) {
    put_varint(message, number << 3 | wire_type as u64);
}

/// Seven bits a byte, the lowest first.
fn put_varint(message: &mut Message, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}
