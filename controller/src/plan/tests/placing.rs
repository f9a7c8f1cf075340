//! Placement over time: what stays, what moves, what waits.

use super::cluster::node;
use super::*;

fn places(cluster: &Cluster, owner: &str) -> Vec<String> {
    let mine = cluster
        .state
        .instances
        .values()
        .filter(|i| i.owner.name.as_str() == owner);
    let places = mine.map(|i| i.node.as_ref().map_or("-".to_owned(), ToString::to_string));
    places.collect()
}

#[test]
fn replicas_spread_and_get_addresses_of_their_box() {
    let mut cluster = Cluster::new(3);
    cluster.apply(HELLO);
    cluster.settle();
    assert_eq!(places(&cluster, "hello"), ["box1", "box2", "box3"]);
    let addresses: Vec<_> = cluster
        .state
        .instances
        .values()
        .filter_map(|i| i.address)
        .collect();
    assert_eq!(
        addresses
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["10.128.1.2", "10.128.2.2", "10.128.3.2"]
    );
}

#[test]
fn nothing_moves_when_a_box_joins() {
    let mut cluster = Cluster::new(2);
    cluster.apply(HELLO);
    cluster.settle();
    let before = places(&cluster, "hello");
    cluster.boxes.insert(node("box3"), Default::default());
    cluster.mend("box3");
    cluster.settle();
    assert_eq!(places(&cluster, "hello"), before);
}

#[test]
fn what_does_not_fit_waits_and_says_why() {
    let mut cluster = Cluster::new(1);
    cluster.apply(&HELLO.replace("cpu: 500m", "cpu: 1500m"));
    cluster.settle();
    assert_eq!(places(&cluster, "hello"), ["box1", "-", "-"]);
    assert_eq!(
        cluster.state.instances["hello-2"].waiting.as_deref(),
        Some("box1: 500m of CPU free, 1500m asked for")
    );
    cluster.boxes.insert(node("box2"), Default::default());
    cluster.mend("box2");
    cluster.settle();
    assert_eq!(places(&cluster, "hello"), ["box1", "box2", "-"]);
}

#[test]
fn a_service_waits_for_what_it_depends_on() {
    let mut cluster = Cluster::new(1);
    let front = HELLO
        .replace("name: hello", "name: front")
        .replace("image: h,", "image: h, dependsOn: [hello],");
    cluster
        .boxes
        .get_mut(&node("box1"))
        .unwrap()
        .sick
        .insert("hello-1".into());
    cluster.apply(&format!("{HELLO}---\n{front}").replace("replicas: 3", "replicas: 1"));
    cluster.settle();
    assert_eq!(places(&cluster, "front"), ["-"]);
    cluster.heal_container("box1", "hello-1");
    cluster.settle();
    assert_eq!(places(&cluster, "front"), ["box1"]);
}

#[test]
fn a_function_waits_for_a_service_and_its_box_is_told_of_it() {
    let mut cluster = Cluster::new(1);
    let function = "\
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: proxy}
spec: {image: p, dependsOn: [hello]}
";
    let both = format!("{HELLO}---\n{function}").replace("replicas: 3", "replicas: 1");
    let box1 = cluster.boxes.get_mut(&node("box1")).unwrap();
    box1.unready.insert("hello-1".into());
    cluster.apply(&both);
    cluster.settle();
    assert_eq!(places(&cluster, "proxy"), ["-"]);
    let box1 = cluster.boxes.get_mut(&node("box1")).unwrap();
    box1.unready.clear();
    cluster.pass(1_000);
    assert_eq!(places(&cluster, "proxy"), ["box1"]);
    let document = cluster.boxes[&node("box1")].retained.clone().unwrap();
    let proxy = document.containers.iter().find(|c| c.name == "proxy-1");
    assert_eq!(proxy.unwrap().depends_on, ["hello"]);
    let refused = cluster.state.delete(&"Service/hello".parse().unwrap());
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("needed by ServiceFunction/proxy"),
        "{refused}"
    );
}

#[test]
fn changed_labels_move_what_no_longer_suits() {
    let mut cluster = Cluster::new(3);
    let picky = HELLO.replace(
        "replicas: 3",
        "replicas: 1, placement: {nodeSelector: {box: box2}}",
    );
    cluster.apply(&picky);
    cluster.settle();
    assert_eq!(places(&cluster, "hello"), ["box2"]);
    cluster.apply(&picky.replace("box: box2", "box: box3"));
    cluster.settle();
    assert_eq!(places(&cluster, "hello"), ["box3"]);
    assert_eq!(
        cluster.state.instances["hello-1"]
            .address
            .unwrap()
            .to_string(),
        "10.128.3.2"
    );
}

#[test]
fn a_line_of_boxes_hands_packets_along() {
    let mut cluster = Cluster::new(3);
    let line = "apiVersion: kcluster/v1\nkind: Node\nmetadata: {name: box2}\nspec: {links: [{to: box1}, {to: box3}]}\n";
    cluster.apply(&format!("{WEB}---\n{line}"));
    cluster.settle();
    let chain = &cluster.state.chains.values().next().unwrap();
    let route: Vec<Vec<_>> = chain
        .carrying()
        .unwrap()
        .route
        .iter()
        .map(|leg| leg.iter().map(ToString::to_string).collect())
        .collect();
    assert_eq!(route.last().unwrap(), &["box1", "box2", "box3"]);
    // The box in the middle has no function on the path, and still a hop.
    let middle = &cluster.boxes[&node("box2")].tables.paths;
    assert_eq!(middle.len(), 2);
    assert!(
        middle
            .iter()
            .all(|path| path.hops.len() == 1 && path.mtu == Some(1426))
    );
}

#[test]
fn a_box_that_returns_after_its_function_was_moved_takes_its_tables_and_the_chain_is_mended() {
    let mut cluster = Cluster::new(3);
    cluster.apply(
        "apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: firewall}
spec: {image: f}
---
apiVersion: kcluster/v1
kind: Chain
metadata: {name: web}
spec:
  functions: [firewall]
  from: {node: box1, interface: client0}
  to: {node: box3, interface: server0}
",
    );
    cluster.settle();
    // It begins there, so nothing better can be found while the box is away.
    assert_eq!(
        cluster.state.instances["firewall-1"].node,
        Some(node("box1"))
    );
    cluster.cut("box1");
    cluster.pass(16_000);
    assert_ne!(
        cluster.state.instances["firewall-1"].node,
        Some(node("box1"))
    );
    assert!(cluster.status("web").starts_with("Broken"));
    cluster.mend("box1");
    cluster.settle();
    assert_eq!(cluster.status("web"), "Ready", "{}", cluster.told());
}
