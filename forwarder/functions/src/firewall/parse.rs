//! The rule file: one rule a line, `#` begins a comment.
//!
//! ```text
//! file    = { [ rule | "default" ("allow" | "deny" | "reject") ] [ "#" comment ] newline }
//! rule    = ("allow" | "deny" | "reject") protocol "from" end "to" end [ "context" header ]
//! protocol = "any" | "tcp" | "udp" | "icmp" | "sctp" | "gre" | "esp" | number
//! end     = ("any" | address | prefix) [ "port" ports ]
//! ports   = number [ "-" number ] { "," number [ "-" number ] }
//! header  = class ":" type [ "=" octets ]
//! ```
//!
//! A header is one of NSH MD type 2: class and type in decimal or as `0x…`, octets in hexadecimal
//! digits. Without octets any value fits; a packet without that header fits not.

use super::rule::{Action, Context, End, Protocol, Rule, Rules};
use crate::nearest::nearest;
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// A rule file that says something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {fault}")]
pub struct RuleError {
    /// The file, as named by the user.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub fault: RuleFault,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleFault {
    /// A word that does not belong there.
    Word {
        /// What was found.
        found: String,
        /// What would be right.
        expected: &'static str,
        /// The word that was probably meant.
        meant: Option<&'static str>,
    },
    /// The line ends too early.
    Short {
        /// What is missing.
        expected: &'static str,
    },
    /// Ports where the protocol has none.
    NoPorts {
        /// The protocol, as written.
        protocol: String,
    },
    /// A range whose end is before its start.
    Backwards {
        /// As written.
        found: String,
    },
    /// Source and destination of different families.
    Families,
    /// The default is given twice.
    TwoDefaults {
        /// Line of the first.
        first: usize,
    },
}

impl fmt::Display for RuleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word {
                found,
                expected,
                meant,
            } => {
                write!(f, "{found:?} is not {expected}")?;
                match meant {
                    Some(meant) => write!(f, "; did you mean {meant:?}?"),
                    None => Ok(()),
                }
            }
            Self::Short { expected } => write!(f, "the line ends where {expected} should follow"),
            Self::NoPorts { protocol } => {
                write!(
                    f,
                    "protocol {protocol:?} has no ports; only tcp, udp and sctp have"
                )
            }
            Self::Backwards { found } => write!(f, "port range {found:?} runs backwards"),
            Self::Families => write!(f, "\"from\" and \"to\" mix IPv4 and IPv6"),
            Self::TwoDefaults { first } => {
                write!(f, "the default was given in line {first} already")
            }
        }
    }
}

const ACTIONS: [&str; 4] = ["allow", "deny", "reject", "default"];
const PROTOCOLS: [&str; 7] = ["any", "tcp", "udp", "icmp", "sctp", "gre", "esp"];

/// Reads a rule file; `file` is its name for messages. Without a `default` line what no rule fits
/// is denied.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn parse(file: &str, text: &str) -> Result<Rules, RuleError> {
    let mut rules = Vec::new();
    let mut default: Option<(Action, usize)> = None;
    for (number, text) in text.lines().enumerate() {
        let line = number + 1;
        let mut words = Words::new(text);
        let at_fault = |words: &Words<'_>, fault| RuleError {
            file: file.to_owned(),
            line,
            column: words.column,
            fault,
        };
        let Some(first) = words.next() else { continue };
        if first == "default" {
            let action = action(&mut words).map_err(|fault| at_fault(&words, fault))?;
            if let Some((_, first)) = default {
                words.column = 1;
                return Err(at_fault(&words, RuleFault::TwoDefaults { first }));
            }
            default = Some((action, line));
        } else {
            let parsed = rule(first, &mut words).map_err(|fault| at_fault(&words, fault))?;
            let text = words.text.trim().to_owned();
            rules.push(Rule {
                line,
                text,
                ..parsed
            });
        }
        if let Some(word) = words.next() {
            let fault = wrong(word, "the end of the line", &[]);
            return Err(at_fault(&words, fault));
        }
    }
    Ok(Rules {
        rules,
        default: default.map(|(action, _)| action),
    })
}

/// The words of a line without its comment, and where the last one taken stands.
struct Words<'a> {
    text: &'a str,
    rest: &'a str,
    column: usize,
    taken: usize,
}

impl<'a> Words<'a> {
    fn new(line: &'a str) -> Self {
        let text = line.split('#').next().unwrap_or_default();
        Self {
            text,
            rest: text,
            column: 1,
            taken: 0,
        }
    }

    fn next(&mut self) -> Option<&'a str> {
        let trimmed = self.rest.trim_start();
        self.taken += self.rest.chars().count() - trimmed.chars().count();
        let end = trimmed.find(char::is_whitespace).unwrap_or(trimmed.len());
        let (word, rest) = trimmed.split_at(end);
        self.column = self.taken + 1;
        self.taken += word.chars().count();
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    fn expect(&mut self, expected: &'static str) -> Result<&'a str, RuleFault> {
        self.next().ok_or_else(|| {
            // Point behind the last word, not behind trailing blanks.
            self.column = self.text.trim_end().chars().count() + 1;
            RuleFault::Short { expected }
        })
    }

    fn expect_word(&mut self, word: &'static str, expected: &'static str) -> Result<(), RuleFault> {
        let found = self.expect(expected)?;
        if found == word {
            Ok(())
        } else {
            Err(wrong(found, expected, &[word]))
        }
    }

    fn peek_is(&self, word: &str) -> bool {
        self.rest.split_whitespace().next() == Some(word)
    }
}

fn wrong(found: &str, expected: &'static str, words: &[&'static str]) -> RuleFault {
    RuleFault::Word {
        found: found.to_owned(),
        expected,
        meant: nearest(found, words),
    }
}

fn action_of(word: &str) -> Option<Action> {
    [Action::Allow, Action::Deny, Action::Reject]
        .into_iter()
        .find(|action| action.word() == word)
}

fn action(words: &mut Words<'_>) -> Result<Action, RuleFault> {
    const EXPECTED: &str = "one of allow, deny, reject";
    let word = words.expect(EXPECTED)?;
    action_of(word).ok_or_else(|| wrong(word, EXPECTED, &ACTIONS[..3]))
}

fn rule(first: &str, words: &mut Words<'_>) -> Result<Rule, RuleFault> {
    let action = action_of(first)
        .ok_or_else(|| wrong(first, "one of allow, deny, reject, default", &ACTIONS))?;
    let word = words.expect("a protocol")?;
    let protocol = protocol(word)?;
    let ports = matches!(protocol, Protocol::Number(6 | 17 | 132));
    words.expect_word("from", "the word from")?;
    let from = end(words, ports, word)?;
    words.expect_word("to", "the word to")?;
    let to = end(words, ports, word)?;
    if let (Some(from), Some(to)) = (from.prefix, to.prefix)
        && from.addr().is_ipv4() != to.addr().is_ipv4()
    {
        return Err(RuleFault::Families);
    }
    let context = match words.peek_is("context") {
        true => {
            words.next();
            Some(context(words.expect(HEADER)?)?)
        }
        false => None,
    };
    Ok(Rule {
        action,
        protocol,
        from,
        to,
        context,
        line: 0,
        text: String::new(),
    })
}

fn protocol(word: &str) -> Result<Protocol, RuleFault> {
    Ok(match word {
        "any" | "ip" => Protocol::Any,
        "icmp" => Protocol::Icmp,
        "tcp" => Protocol::Number(6),
        "udp" => Protocol::Number(17),
        "sctp" => Protocol::Number(132),
        "gre" => Protocol::Number(47),
        "esp" => Protocol::Number(50),
        number => match number.parse() {
            Ok(number) => Protocol::Number(number),
            Err(_) => {
                const EXPECTED: &str = "a protocol (any, tcp, udp, icmp, sctp, gre, esp, 0-255)";
                return Err(wrong(word, EXPECTED, &PROTOCOLS));
            }
        },
    })
}

fn end(words: &mut Words<'_>, ports: bool, protocol: &str) -> Result<End, RuleFault> {
    const EXPECTED: &str = "an address, a prefix or any";
    let word = words.expect(EXPECTED)?;
    let prefix = match word {
        "any" => None,
        _ => Some(
            word.parse::<IpNet>()
                .or_else(|_| word.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| wrong(word, EXPECTED, &["any"]))?
                .trunc(),
        ),
    };
    let mut end = End {
        prefix,
        ports: Vec::new(),
    };
    if words.peek_is("port") {
        words.next();
        if !ports {
            return Err(RuleFault::NoPorts {
                protocol: protocol.to_owned(),
            });
        }
        let word = words.expect("a port such as 80, 80,443 or 1024-65535")?;
        end.ports = word.split(',').map(range).collect::<Result<_, _>>()?;
    }
    Ok(end)
}

/// What follows the word context.
const HEADER: &str = "a context header such as 0x0102:7 or 0x0102:7=0a0b";

fn context(text: &str) -> Result<Context, RuleFault> {
    let refuse = || wrong(text, HEADER, &[]);
    let number = |word: &str| match word.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    };
    let (header, value) = match text.split_once('=') {
        Some((header, value)) => (header, Some(value)),
        None => (text, None),
    };
    let (class, kind) = header.split_once(':').ok_or_else(refuse)?;
    let kind = number(kind).and_then(|kind| u8::try_from(kind).ok());
    let value = value.map(str::parse).transpose().map_err(|_| refuse())?;
    Ok(Context {
        class: number(class).ok_or_else(refuse)?,
        kind: kind.ok_or_else(refuse)?,
        value,
    })
}

fn range(text: &str) -> Result<RangeInclusive<u16>, RuleFault> {
    let port = |word: &str| {
        let refuse = |_| wrong(text, "a port such as 80, 80,443 or 1024-65535", &[]);
        word.parse::<u16>().map_err(refuse)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = port(first)?..=port(last)?;
    if range.is_empty() {
        return Err(RuleFault::Backwards {
            found: text.to_owned(),
        });
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse("fw.rules", text).unwrap_err().to_string()
    }

    #[test]
    fn a_rule_file_reads_as_it_is_written() {
        let text = "# web only\n\nallow tcp from 10.0.0.0/8 to any port 80,8000-8080 # http\n\
                    deny udp from any port 53 to fd00::1\ndefault reject\n";
        let rules = parse("fw.rules", text).unwrap();
        assert_eq!(rules.fallback(), Action::Reject);
        let [web, dns] = &rules.rules[..] else {
            panic!("{rules:?}")
        };
        assert_eq!(web.line, 3);
        assert_eq!(
            web.text,
            "allow tcp from 10.0.0.0/8 to any port 80,8000-8080"
        );
        assert_eq!(web.to.ports, [80..=80, 8000..=8080]);
        assert_eq!(dns.to.prefix.unwrap().to_string(), "fd00::1/128");
    }

    #[test]
    fn a_context_header_is_class_and_type_and_perhaps_a_value() {
        let text = "allow any from any to any context 0x0102:7=0A0b\ndeny tcp from any to any port 80 context 258:255";
        let rules = parse("f", text).unwrap().rules;
        let contexts: Vec<_> = rules.into_iter().filter_map(|rule| rule.context).collect();
        let [first, second] = <[Context; 2]>::try_from(contexts).unwrap();
        assert_eq!((first.class, first.kind), (0x0102, 7));
        assert_eq!(first.value.unwrap().octets(), [10, 11]);
        assert_eq!((second.class, second.kind, second.value), (258, 255, None));
        for wrong in [
            "1",
            "1:",
            "1:256",
            "65536:1",
            "1:1=0",
            "1:1=xy",
            "0xfffff:1",
        ] {
            let error = error(&format!("allow any from any to any context {wrong}"));
            assert!(
                error.contains("1:35:") && error.contains("is not a context header"),
                "{error}"
            );
        }
        assert!(error("allow any from any to any context").contains("a context header such as"));
    }

    #[test]
    fn an_empty_file_denies() {
        assert_eq!(parse("f", "").unwrap().fallback(), Action::Deny);
    }

    #[test]
    fn more_rules_keep_the_default_unless_they_bring_their_own() {
        let mut rules = parse("f", "default allow").unwrap();
        rules.extend(parse("more", "deny udp from any to any").unwrap());
        assert_eq!(rules.fallback(), Action::Allow);
        assert_eq!(rules.rules.len(), 1);
        rules.extend(parse("more", "default reject").unwrap());
        assert_eq!(rules.fallback(), Action::Reject);
    }

    #[test]
    fn a_misspelt_word_is_answered_with_its_place_and_the_right_one() {
        assert_eq!(
            error("default deny\n  alow tcp from any to any"),
            "fw.rules:2:3: \"alow\" is not one of allow, deny, reject, default; did you mean \"allow\"?"
        );
        assert_eq!(
            error("allow tpc from any to any"),
            "fw.rules:1:7: \"tpc\" is not a protocol (any, tcp, udp, icmp, sctp, gre, esp, 0-255); did you mean \"tcp\"?"
        );
        assert_eq!(
            error("allow tcp form any to any"),
            "fw.rules:1:11: \"form\" is not the word from; did you mean \"from\"?"
        );
        assert_eq!(
            error("allow tcp from 10.0.0.300 to any"),
            "fw.rules:1:16: \"10.0.0.300\" is not an address, a prefix or any"
        );
    }

    #[test]
    fn a_line_that_stops_early_says_what_is_missing() {
        assert_eq!(
            error("allow tcp from any  # later"),
            "fw.rules:1:19: the line ends where the word to should follow"
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert!(
            error("allow icmp from any to any port 80")
                .contains("1:28: protocol \"icmp\" has no ports")
        );
        assert!(
            error("allow tcp from any to any port 90-80")
                .contains("1:32: port range \"90-80\" runs backwards")
        );
        assert!(error("allow any from 10.0.0.1 to fd00::1").contains("mix IPv4 and IPv6"));
        assert!(
            error("default deny\ndefault allow")
                .contains("2:1: the default was given in line 1 already")
        );
        assert!(
            error("allow tcp from any to any quickly")
                .contains("1:27: \"quickly\" is not the end of the line")
        );
        assert!(error("allow tcp from any to any port 80,70000").contains("1:32"));
    }
}
