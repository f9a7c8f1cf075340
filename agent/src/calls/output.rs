//! What a container says, put together into parts: all that is there already and came by the same
//! output, so that a busy container costs few messages and a keystroke's echo no time.

use super::flow::PART;
use bollard::container::LogOutput;
use bollard::errors::Error;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use kc_agent_api::Output;

/// Octets not handed on yet, and where they came from.
type Piece = (Output, Vec<u8>);

/// What a stream has at hand, without waiting for more: `None` when that is nothing.
///
/// A task of its own reads the engine's connection, on this same thread: that nothing is there
/// counts only once that task had its turn.
pub(super) async fn at_hand<S: Stream + Unpin>(source: &mut S) -> Option<Option<S::Item>> {
    let next = source.next().now_or_never();
    if next.is_some() {
        return next;
    }
    tokio::task::yield_now().await;
    source.next().now_or_never()
}

/// An output being read; whoever gives up waiting for the next piece loses nothing.
pub(super) struct Pieces<S> {
    source: S,
    held: Option<Piece>,
    /// Came after what is held, by the other output.
    behind: Option<Piece>,
    failed: Option<Error>,
    over: bool,
}

fn piece(output: LogOutput) -> Piece {
    let stream = match output {
        LogOutput::StdErr { .. } => Output::Stderr,
        _ => Output::Stdout,
    };
    (stream, output.into_bytes().to_vec())
}

impl<S: Stream<Item = Result<LogOutput, Error>> + Unpin> Pieces<S> {
    pub(super) const fn new(source: S) -> Self {
        Self {
            source,
            held: None,
            behind: None,
            failed: None,
            over: false,
        }
    }

    /// The next octets, [`PART`] of them at most; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Piece>, Error> {
        while self.held.is_none() && !self.over {
            match self.source.next().await.transpose()? {
                Some(output) => self.hold(output),
                None => self.over = true,
            }
        }
        let Some((stream, octets)) = &mut self.held else {
            return self.failed.take().map_or(Ok(None), Err);
        };
        while octets.len() < PART && self.behind.is_none() && !self.over {
            match at_hand(&mut self.source).await {
                Some(Some(Ok(output))) => {
                    let (from, more) = piece(output);
                    if from == *stream || more.is_empty() {
                        octets.extend_from_slice(&more);
                    } else {
                        self.behind = Some((from, more));
                    }
                }
                // What came before an error is good, and told first.
                Some(Some(Err(error))) => {
                    self.failed = Some(error);
                    self.over = true;
                }
                Some(None) => self.over = true,
                None => break,
            }
        }
        let rest = octets.split_off(octets.len().min(PART));
        let next = (*stream, std::mem::take(octets));
        self.held = match rest.is_empty() {
            true => self.behind.take(),
            false => Some((next.0, rest)),
        };
        Ok(Some(next))
    }

    fn hold(&mut self, output: LogOutput) {
        let (stream, octets) = piece(output);
        if !octets.is_empty() {
            self.held = Some((stream, octets));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use proptest::prelude::*;

    fn said(stderr: bool, octets: Vec<u8>) -> LogOutput {
        let message = octets.into();
        if stderr {
            LogOutput::StdErr { message }
        } else {
            LogOutput::StdOut { message }
        }
    }

    async fn all(words: Vec<(bool, Vec<u8>)>) -> Vec<Piece> {
        let words = words.into_iter().map(|(err, octets)| Ok(said(err, octets)));
        let mut pieces = Pieces::new(stream::iter(words));
        let mut heard = Vec::new();
        while let Some(piece) = pieces.next().await.unwrap() {
            heard.push(piece);
        }
        heard
    }

    proptest! {
        #[test]
        fn nothing_is_lost_mixed_up_or_too_long(
            words in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..70_000)), 0..8)
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let heard = runtime.block_on(all(words.clone()));
            prop_assert!(heard.iter().all(|(_, octets)| (1..=PART).contains(&octets.len())));
            let flat = |pieces: &[(bool, Vec<u8>)]| -> Vec<(bool, u8)> {
                let each = pieces.iter().flat_map(|(err, octets)| octets.iter().map(|o| (*err, *o)));
                each.collect()
            };
            let heard: Vec<_> = heard.into_iter().map(|(s, o)| (s == Output::Stderr, o)).collect();
            prop_assert_eq!(flat(&heard), flat(&words));
        }
    }

    #[tokio::test]
    async fn an_error_is_told_after_what_came_before_it() {
        let broken = || Error::RequestTimeoutError;
        let words = [Ok(said(false, b"good".to_vec())), Err(broken())];
        let mut pieces = Pieces::new(stream::iter(words));
        let first = pieces.next().await.unwrap();
        assert_eq!(first, Some((Output::Stdout, b"good".to_vec())));
        assert!(pieces.next().await.is_err());
        assert_eq!(pieces.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_there_already_shares_a_part() {
        let words = (0..100).map(|n| (false, format!("line {n}\n").into_bytes()));
        assert_eq!(all(words.collect()).await.len(), 1);
    }
}
