//! What applying and deleting stacks does to the state.

use super::input::{Mutation, MutationError};
use super::mutate::{Mutated, mutate};
use crate::manifest::Parameters;
use crate::plan::{Change, State, plan};
use crate::views::ManifestFile;

const STACK: &str = "\
apiVersion: kcluster/v1
kind: Stack
metadata: {name: lab}
spec:
  parameters:
    password: {type: string, hidden: true}
    replicas: {type: number, default: 1}
  resources:
    - apiVersion: kcluster/v1
      kind: Secret
      metadata: {name: key}
      stringData: {password: \"${password}\"}
    - apiVersion: kcluster/v1
      kind: ServiceFunction
      metadata: {name: fw}
      spec: {image: a, replicas: \"${replicas}\", secrets: [{name: key}]}
    - apiVersion: kcluster/v1
      kind: Chain
      metadata: {name: web}
      spec:
        functions: [fw]
        from: {node: box1, interface: c0}
        to: {node: box2, interface: s0}
    # optional
    - apiVersion: kcluster/v1
      kind: Service
      metadata: {name: db}
      spec: {image: a}
    - apiVersion: kcluster/v1
      kind: Service
      metadata: {name: app}
      spec: {image: a, dependsOn: [db]}
";

fn files(text: &str) -> Vec<ManifestFile> {
    let name = "s.yaml".to_owned();
    let content = text.to_owned();
    vec![ManifestFile { name, content }]
}

fn apply(state: &State, text: &str, given: &[&str]) -> Result<Mutated, MutationError> {
    let single = given.iter().map(|text| (*text).to_owned()).collect();
    let parameters = Parameters {
        single,
        files: Vec::new(),
    };
    let apply = Mutation::Apply {
        files: files(text),
        parameters,
        adopt: false,
    };
    mutate(state, &apply)
}

fn applied(state: &State, text: &str, given: &[&str]) -> State {
    match apply(state, text, given) {
        Ok(mutated) => planned(&mutated.state),
        Err(error) => panic!("{error:?}"),
    }
}

fn planned(state: &State) -> State {
    plan(state, &Default::default(), 1).state
}

fn delete(state: &State, id: &str) -> Result<Mutated, MutationError> {
    mutate(state, &Mutation::Delete(id.parse().unwrap()))
}

fn refusal(result: Result<Mutated, MutationError>) -> String {
    match result {
        Ok(mutated) => panic!("{:?}", mutated.changed),
        Err(error) => error.to_string(),
    }
}

fn names(state: &State) -> Vec<String> {
    state.resources.keys().map(ToString::to_string).collect()
}

/// The stack without what is behind `# optional`.
fn smaller() -> &'static str {
    STACK.split("    # optional").next().unwrap()
}

#[test]
fn what_a_stack_does_not_have_any_more_goes_with_the_same_checks() {
    let state = applied(&State::default(), STACK, &["password=x"]);
    assert_eq!(state.stacks.len(), 1);
    let again = apply(&state, STACK, &["password=x"]).unwrap();
    assert!(
        again
            .changed
            .iter()
            .all(|c| c.change == Some(Change::Unchanged))
    );
    assert_eq!(again.state, state);
    // Another secret's value is another secret, although the stack shows nothing of it.
    let other = apply(&state, STACK, &["password=y"]).unwrap();
    let changed = other
        .changed
        .iter()
        .filter(|c| c.change != Some(Change::Unchanged));
    let changed: Vec<_> = changed.map(|c| c.id.to_string()).collect();
    assert_eq!(changed, ["Secret/key"]);

    let less = apply(&state, smaller(), &["password=x"]).unwrap();
    let gone = less.changed.iter().filter(|c| c.change.is_none());
    let gone: Vec<_> = gone.map(|c| c.id.to_string()).collect();
    assert_eq!(gone, ["Service/app", "Service/db"]);
    assert_eq!(
        names(&less.state),
        ["ServiceFunction/fw", "Chain/web", "Secret/key"]
    );

    let outside = "apiVersion: kcluster/v1\nkind: Service\nmetadata: {name: out}\nspec: {image: a, dependsOn: [db]}\n";
    let state = applied(&state, outside, &[]);
    let told = refusal(apply(&state, smaller(), &["password=x"]));
    assert!(
        told.contains("Service/db is needed by Service/out"),
        "{told}"
    );
    let told = refusal(delete(&state, "Stack/lab"));
    assert!(
        told.contains("Service/db is needed by Service/out"),
        "{told}"
    );
}

#[test]
fn a_stack_is_deleted_as_one_and_its_members_are_not_deleted_apart() {
    let state = applied(&State::default(), STACK, &["password=xyzzy"]);
    for member in ["Chain/web", "Secret/key", "Service/app"] {
        let told = refusal(delete(&state, member));
        assert!(told.contains("belongs to stack lab"), "{told}");
    }
    let gone = delete(&state, "Stack/lab").unwrap();
    let order: Vec<_> = gone.changed.iter().map(|c| c.id.to_string()).collect();
    let wanted = [
        "Stack/lab",
        "Chain/web",
        "Service/app",
        "ServiceFunction/fw",
        "Service/db",
        "Secret/key",
    ];
    assert_eq!(order, wanted);
    assert_eq!(names(&gone.state), [""; 0]);
    let after = planned(&gone.state);
    assert!(
        after.stacks.is_empty() && after.retired.is_empty(),
        "{after:?}"
    );
    assert_eq!(planned(&after), after);
    assert!(
        !serde_json::to_string(&after)
            .unwrap()
            .contains(&base64("xyzzy"))
    );
    assert!(refusal(delete(&after, "Stack/lab")).contains("does not exist"));
    // By its file too, without a parameter.
    let named = |ignore_missing| Mutation::DeleteNamed {
        files: files(STACK),
        ignore_missing,
    };
    let by_file = mutate(&state, &named(false)).unwrap();
    assert_eq!(by_file.state, gone.state);
    assert!(refusal(mutate(&after, &named(false))).contains("does not exist"));
    assert!(mutate(&after, &named(true)).unwrap().changed.is_empty());
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn what_is_hidden_is_in_the_vault_and_nowhere_else() {
    let state = applied(&State::default(), STACK, &["password=xyzzy-4711"]);
    let text = serde_json::to_string(&state).unwrap();
    assert!(!text.contains("xyzzy-4711"), "{text}");
    assert_eq!(text.matches(&base64("xyzzy-4711")).count(), 1);
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    let mut without = state;
    without.vault = Default::default();
    let text = serde_json::to_string(&without).unwrap();
    assert!(!text.contains(&base64("xyzzy-4711")), "{text}");
}

#[test]
fn another_stack_may_come_with_what_a_first_one_loses() {
    let state = applied(&State::default(), STACK, &["password=x"]);
    let other = "\
apiVersion: kcluster/v1
kind: Stack
metadata: {name: other}
spec:
  resources:
    - apiVersion: kcluster/v1
      kind: Service
      metadata: {name: db}
      spec: {image: a}
";
    assert!(apply(&state, other, &[]).is_err());
    let state = applied(&state, smaller(), &["password=x"]);
    let state = applied(&state, other, &[]);
    assert_eq!(
        state
            .stack_of(&"Service/db".parse().unwrap())
            .unwrap()
            .as_str(),
        "other"
    );
}
