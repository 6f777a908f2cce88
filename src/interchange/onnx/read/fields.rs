//! The fields of a message, one after another: what a file repeats a million times is looked at a million times, and not
//! held in memory a hundred times larger than in the file.

use prost::DecodeError;
use prost::bytes::{Buf, Bytes};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Calls `body` with the number and the bytes of each field that is a text or a message; passes numbers over.
pub(super) fn each<E: From<DecodeError>>(
    mut message: Bytes,
    mut body: impl FnMut(u32, Bytes) -> Result<(), E>,
) -> Result<(), E> {
    while message.has_remaining() {
        let (tag, wire) = decode_key(&mut message)?;
        if wire != WireType::LengthDelimited {
            skip_field(wire, tag, &mut message, DecodeContext::default())?;
            continue;
        }
        let before = message.clone();
        let len = usize::try_from(decode_varint(&mut message)?).unwrap_or(usize::MAX);
        if len > message.remaining() {
            // Gives the reader's own words for a field that reaches past the end.
            message = before;
            skip_field(wire, tag, &mut message, DecodeContext::default())?;
            continue;
        }
        body(tag, message.split_to(len))?;
    }
    Ok(())
}
