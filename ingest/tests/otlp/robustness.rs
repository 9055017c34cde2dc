//! Bodies made to do harm: bombs, depth, truncation, damage.

use crate::fixture::*;
use crate::formats::rich;
use crate::support::message;
use ingest::otlp::{Config, Format};
use ingest::{Encoding, Error, Limits};
use proptest::prelude::*;
use std::sync::OnceLock;

#[test]
fn bombs_end_at_the_budget() {
    let limits = Limits { series: 1000, elements: 10_000, body_bytes: 8 << 20, ..Limits::OTLP };
    let f = fixture_within(Config::default(), limits);
    let repeat = |bytes: &[u8]| bytes.repeat(1 << 20);
    let cases = [
        repeat(&[0x0a, 0x00]),
        message().bytes(1, repeat(&[0x12, 0x00])).0,
        message().sub(1, message().bytes(2, repeat(&[0x12, 0x00]))).0,
        message().sub(1, message().sub(2, message().sub(2, message().bytes(5, repeat(&[0x0a, 0x00]))))).0,
        message()
            .sub(
                1,
                message().sub(
                    2,
                    message().sub(
                        2,
                        message().sub(9, message().int(2, 2).sub(1, message().bytes(6, repeat(&[0; 2])))),
                    ),
                ),
            )
            .0,
        message()
            .sub(
                1,
                message()
                    .sub(2, message().sub(2, message().sub(11, message().bytes(1, repeat(&[0x32, 0x00]))))),
            )
            .0,
    ];
    for (i, body) in cases.into_iter().enumerate() {
        let got = f.receiver.receive(Format::Protobuf, Encoding::Identity, &body);
        assert!(matches!(got, Err(Error::TooLarge { .. })), "case {i}: {got:?}");
    }
    let json = format!(r#"{{"resourceMetrics":[{}{{}}]}}"#, "{},".repeat(2 << 20));
    assert!(matches!(
        f.receiver.receive(Format::Json, Encoding::Identity, json.as_bytes()),
        Err(Error::TooLarge { .. })
    ));
}

#[test]
fn deep_attributes_are_refused_and_do_not_overflow() {
    let mut value = message().bytes(1, "x");
    for _ in 0..5_000 {
        value = message().sub(5, message().sub(1, value));
    }
    let point =
        message().fixed(3, (T * 1_000_000) as u64).fixed(6, 1).sub(7, message().bytes(1, "k").sub(2, value));
    let metric = message().bytes(1, "g").sub(5, message().sub(1, point));
    let f = fixture(Config::default());
    let receipt = f.protobuf(&message().sub(1, message().sub(2, message().sub(2, metric)))).unwrap();
    assert_eq!(receipt.rejected, 1);
    assert!(receipt.message.contains("nested too deep"), "{}", receipt.message);
}

#[test]
fn truncated_anywhere_never_panics() {
    let f = shared();
    let (json, protobuf) = rich();
    for cut in 0..protobuf.0.len() {
        let _ = f.receiver.receive(Format::Protobuf, Encoding::Identity, &protobuf.0[..cut]);
    }
    let json = json.to_string();
    for cut in 0..json.len() {
        let got = f.receiver.receive(Format::Json, Encoding::Identity, &json.as_bytes()[..cut]);
        assert!(matches!(got, Err(Error::BadJson(_))), "cut at {cut}");
    }
}

/// One engine for all cases of a test that only looks for panics.
fn shared() -> &'static Fixture {
    static SHARED: OnceLock<Fixture> = OnceLock::new();
    SHARED.get_or_init(|| {
        fixture(Config {
            promote_all_resource_attributes: true,
            promote_scope_metadata: true,
            ..Config::default()
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Whatever is repeated and however often the receiver starts anew, every delta counts once.

    fn no_body_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = shared().receiver.receive(Format::Protobuf, Encoding::Identity, &bytes);
        let _ = shared().receiver.receive(Format::Json, Encoding::Identity, &bytes);
    }

    #[test]
    fn no_damage_panics(
        as_json in any::<bool>(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0u8..3), 1..6),
    ) {
        static RICH: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
        let (json, protobuf) = RICH.get_or_init(|| {
            let (json, protobuf) = rich();
            (json.to_string().into_bytes(), protobuf.0)
        });
        let (format, mut bytes) = if as_json { (Format::Json, json.clone()) } else { (Format::Protobuf, protobuf.clone()) };
        for (at, with, how) in edits {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = with,
                1 => bytes.insert(at, with),
                _ => drop(bytes.remove(at)),
            }
        }
        let _ = shared().receiver.receive(format, Encoding::Identity, &bytes);
    }
}
