//! What is said about wrong `autoscale`, alarms that replace, and `rebalance`.

use super::{Context, Source, load};
use std::collections::{BTreeMap, BTreeSet};

/// What is said about a function with `lines` in its spec, in the lines it is said of.
fn told(lines: &str) -> String {
    let text = format!(
        "apiVersion: kcluster/v1\nkind: ServiceFunction\nmetadata: {{name: dpi}}\nspec:\n  image: d\n  \
         alarms: [{{name: busy, when: cpu > 60%}}, {{name: idle, when: cpu < 10%, of: average}}]\n  {lines}\n"
    );
    let context = Context {
        resources: &BTreeMap::new(),
        nodes: &BTreeSet::new(),
    };
    match load(
        &[Source {
            name: "m.yaml",
            text: &text,
        }],
        context,
    ) {
        Ok(_) => "good".to_owned(),
        Err(errors) => {
            let all = errors.iter().map(ToString::to_string);
            all.collect::<Vec<_>>().join("\n")
        }
    }
}

#[test]
fn what_is_right_is_taken() {
    for right in [
        "autoscale: {min: 1, max: 3, target: {cpu: 60%}}",
        "autoscale: {max: 3, target: {cpu: 60, memory: 70.5%}}"
            .replace("60,", "'60',")
            .as_str(),
        "autoscale: {max: 9, steps: [{alarm: busy, add: 2}, {alarm: idle, remove: 1}]}",
        "autoscale: {max: 9, target: {cpu: 5%}, scaleIn: {cooldown: 1s, stabilization: 0s}}",
    ] {
        assert_eq!(told(right), "good", "{right}");
    }
}

#[test]
fn what_is_wrong_is_told_with_what_would_be_right() {
    for (wrong, word) in [
        ("autoscale: {min: 1}", "field \"max\" is missing"),
        ("autoscale: {max: 3}", "add a target such as {cpu: 60%}"),
        (
            "autoscale: {min: 0, max: 3, target: {cpu: 60%}}",
            "take 1 or more",
        ),
        (
            "autoscale: {min: 4, max: 3, target: {cpu: 60%}}",
            "max 3 is less than min 4",
        ),
        ("autoscale: {max: 2000, target: {cpu: 60%}}", "at most 1000"),
        (
            "autoscale: {max: 3, target: {cup: 60%}}",
            "did you mean cpu?",
        ),
        (
            "autoscale: {max: 3, target: {cpu: lots}}",
            "\"lots\" is no level",
        ),
        (
            "autoscale: {max: 3, target: {cpu: 60C}}",
            "cpu is in %, not in \"C\"",
        ),
        ("autoscale: {max: 3, target: {cpu: 0%}}", "1% or more"),
        (
            "autoscale: {max: 3, steps: [{alarm: bussy, add: 1}]}",
            "did you mean busy?",
        ),
        (
            "autoscale: {max: 3, steps: [{alarm: busy}]}",
            "this has neither",
        ),
        (
            "autoscale: {max: 3, steps: [{alarm: busy, add: 1, remove: 1}]}",
            "this has both",
        ),
        (
            "autoscale: {max: 3, steps: [{alarm: busy, add: 0}]}",
            "changes nothing",
        ),
        (
            "autoscale: {max: 3, steps: [{alarm: busy, remove: 1}]}",
            "give it of: average",
        ),
        (
            "autoscale: {max: 3, target: {cpu: 9%}, scaleOut: {cooldown: 10ms}}",
            "take 1s or more",
        ),
        (
            "autoscale: {max: 3, target: {cpu: 9%}, flapBudget: {turns: 0, within: 1h}}",
            "take 1 or more",
        ),
        (
            "autoscale: {max: 3, target: {cpu: 9%}, flapBudge: {turns: 1}}",
            "did you mean flapBudget?",
        ),
    ] {
        let told = told(wrong);
        assert!(told.contains(word), "{wrong}: {told}");
        assert!(told.contains("m.yaml:7:"), "{wrong}: {told}");
    }
}
