//! The first question of a DNS message (RFC 1035 section 4.1).

use super::names::host_name;

/// Octets of the header.
const HEADER: usize = 12;

/// What a message is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// The first question's name; `None` when there is no question or it is the root.
    pub(super) name: Option<String>,
    /// Whether this is a query and no answer.
    pub(super) query: bool,
}

/// Reads a message; `None` when the octets are none.
pub(super) fn parse(data: &[u8]) -> Option<Message> {
    let header = data.get(..HEADER)?;
    let questions = u16::from_be_bytes([*header.get(4)?, *header.get(5)?]);
    let opcode = header.get(2)? >> 3 & 0x0f;
    // Queries, status, notify, update; one question is what everybody sends.
    if opcode > 6 || questions > 16 {
        return None;
    }
    let query = header.get(2)? & 0x80 == 0;
    if questions == 0 {
        return Some(Message { name: None, query });
    }
    let mut name = Vec::new();
    let mut rest = data.get(HEADER..)?;
    loop {
        let (&length, after) = rest.split_first()?;
        // A pointer cannot stand in the first name: nothing is before it.
        if length > 63 {
            return None;
        }
        if length == 0 {
            // Type and class follow.
            after.get(..4)?;
            break;
        }
        let (label, after) = after.split_at_checked(usize::from(length))?;
        if !name.is_empty() {
            name.push(b'.');
        }
        name.extend_from_slice(label);
        rest = after;
    }
    Some(Message {
        name: host_name(&name),
        query,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A query for the address of `name`.
    pub(in crate::dpi) fn query(name: &str) -> Vec<u8> {
        let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend(label.as_bytes());
        }
        message.extend([0, 0, 1, 0, 1]);
        message
    }

    #[test]
    fn the_question_is_read() {
        let message = parse(&query("www.Example.com")).unwrap();
        assert_eq!(message.name.as_deref(), Some("www.example.com"));
        assert!(message.query);
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = query("www.example.com");
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "{length}");
        }
    }

    #[test]
    fn a_pointer_in_the_first_name_is_refused() {
        let mut message = query("www.example.com");
        message[12] = 0xc0;
        assert_eq!(parse(&message), None);
    }
}
