//! Whole stories, step by step, as a person would read them.

use super::cluster::node;
use super::*;
use kc_agent_api::Presence;

#[test]
fn first_apply() {
    let mut cluster = Cluster::new(3);
    cluster.apply(WEB);
    cluster.apply(HELLO);
    cluster.settle();
    assert_eq!(cluster.status("web"), "Ready");
    insta::assert_snapshot!(cluster.told());
}

#[test]
fn a_first_path_waits_for_what_is_starting_but_not_for_ever() {
    let mut cluster = Cluster::new(3);
    cluster.load("box1", "dpi-1", 90.0);
    let late = cluster.boxes.get_mut(&node("box2")).unwrap();
    late.sick.extend(["dpi-2".to_owned(), "nat-2".to_owned()]);
    cluster.apply(WEB);
    cluster.settle();
    assert!(
        cluster
            .status("web")
            .starts_with("Waiting: instances are starting")
    );
    cluster.heal_container("box2", "dpi-2");
    let before = cluster.now_ms;
    cluster.pass(10_000);
    assert_eq!(cluster.path("web"), ["firewall-1", "dpi-2", "nat-1"]);
    let chosen = cluster
        .state
        .chains
        .values()
        .next()
        .unwrap()
        .since_ms
        .unwrap();
    assert!(chosen <= before);
}

#[test]
fn first_documents() {
    let mut cluster = carried();
    cluster.apply(HELLO);
    cluster.settle();
    let documents = cluster.think().documents;
    insta::assert_snapshot!(serde_json::to_string_pretty(&documents[&node("box3")]).unwrap());
}

#[test]
fn an_instance_dies() {
    let mut cluster = carried();
    cluster.kill_container("box1", "firewall-1");
    cluster.settle();
    // Only the dead one is replaced: the others hold the state of their flows.
    assert_eq!(cluster.path("web"), ["firewall-2", "dpi-1", "nat-1"]);
    cluster.heal_container("box1", "firewall-1");
    cluster.settle();
    assert_eq!(
        cluster.path("web"),
        ["firewall-2", "dpi-1", "nat-1"],
        "no flapping back"
    );
    insta::assert_snapshot!(cluster.told());
}

#[test]
fn a_box_dies_and_returns() {
    let mut cluster = Cluster::new(3);
    cluster.apply(WEB);
    let busy = [
        ("box1", "dpi-1"),
        ("box3", "dpi-3"),
        ("box2", "nat-2"),
        ("box3", "nat-3"),
    ];
    for (on, container) in busy {
        cluster.load(on, container, 90.0);
    }
    cluster.apply(HELLO);
    cluster.settle();
    assert_eq!(cluster.path("web"), ["firewall-1", "dpi-2", "nat-1"]);
    cluster.story.clear();
    cluster.cut("box2");
    cluster.pass(2_500);
    assert_eq!(
        cluster.path("web"),
        ["firewall-1", "dpi-2", "nat-1"],
        "not yet doubted"
    );
    cluster.pass(1_000);
    assert_eq!(cluster.path("web"), ["firewall-1", "dpi-1", "nat-1"]);
    cluster.pass(20_000);
    let replica = &cluster.state.instances["hello-2"];
    assert_ne!(
        replica.node,
        Some(node("box2")),
        "services move after the grace"
    );
    cluster.mend("box2");
    cluster.settle();
    assert_eq!(
        cluster.path("web"),
        ["firewall-1", "dpi-1", "nat-1"],
        "no flapping back"
    );
    insta::assert_snapshot!(cluster.told());
}

#[test]
fn scaling_up_changes_no_path_and_scaling_down_breaks_none() {
    let mut cluster = carried();
    cluster.apply(&WEB.replace("replicas: 3", "replicas: 4"));
    cluster.settle();
    assert_eq!(cluster.path("web"), ["firewall-1", "dpi-1", "nat-1"]);
    cluster.kill_container("box1", "nat-1");
    cluster.kill_container("box2", "nat-2");
    cluster.settle();
    assert_eq!(cluster.path("web"), ["firewall-1", "dpi-1", "nat-4"]);
    cluster.heal_container("box1", "nat-1");
    cluster.apply(WEB);
    cluster.settle();
    assert_eq!(cluster.path("web"), ["firewall-1", "dpi-1", "nat-1"]);
    assert!(!cluster.state.instances.contains_key("nat-4"));
    insta::assert_snapshot!(cluster.told());
}

#[test]
fn cordon_then_drain() {
    let mut cluster = carried();
    cluster.apply(HELLO);
    cluster.settle();
    assert!(cluster.state.set_cordon(&node("box1"), true, false));
    cluster.settle();
    assert_eq!(
        cluster.path("web"),
        ["firewall-1", "dpi-1", "nat-1"],
        "cordon moves nothing"
    );
    assert!(cluster.state.set_cordon(&node("box1"), true, true));
    cluster.settle();
    assert!(!cluster.path("web").iter().any(|name| name.ends_with("-1")));
    let hello = cluster
        .state
        .instances
        .iter()
        .filter(|(name, _)| name.starts_with("hello"));
    let places: Vec<_> = hello
        .map(|(name, i)| (name.as_str(), i.node.clone().unwrap()))
        .collect();
    let wanted = [
        ("hello-2", "box2"),
        ("hello-3", "box3"),
        ("hello-4", "box2"),
    ];
    assert_eq!(places, wanted.map(|(name, on)| (name, node(on))));
    insta::assert_snapshot!(cluster.told());
}

#[test]
fn a_chain_without_an_instance_breaks_and_mends() {
    let mut cluster = carried();
    for (on, container) in [("box2", "dpi-2"), ("box3", "dpi-3"), ("box1", "dpi-1")] {
        cluster.kill_container(on, container);
    }
    cluster.settle();
    assert!(
        cluster.status("web").starts_with("Broken"),
        "{}",
        cluster.status("web")
    );
    cluster.heal_container("box1", "dpi-1");
    cluster.settle();
    assert_eq!(cluster.status("web"), "Ready");
    insta::assert_snapshot!(cluster.told());
}

#[test]
fn a_chain_is_removed_and_its_functions_after_it() {
    let mut cluster = carried();
    let needed = cluster
        .state
        .delete(&"sf/nat".parse().unwrap())
        .unwrap_err();
    assert_eq!(
        needed.to_string(),
        "ServiceFunction/nat is needed by Chain/web; delete that first"
    );
    cluster.delete("chain/web");
    cluster.delete("sf/nat");
    cluster.settle();
    assert!(cluster.state.chains.is_empty());
    assert!(cluster.state.retired.is_empty());
    insta::assert_snapshot!(cluster.told());
}

#[test]
fn known_flows_stay_on_a_healthy_former_path_and_leave_a_dead_one() {
    let affinities = |cluster: &Cluster| {
        let paths = cluster.boxes[&node("box1")].tables.paths.iter();
        paths
            .map(|p| (p.spi.get(), p.affinity.clone()))
            .collect::<Vec<_>>()
    };
    let until_switched = |cluster: &mut Cluster| {
        for _ in 0..3 {
            let plan = cluster.think();
            cluster.publish(&plan);
            for name in ["box1", "box2", "box3"] {
                cluster.work(&node(name));
            }
        }
    };
    let (there, back) = (Some("web".to_owned()), Some("web/return".to_owned()));
    let mut healthy = carried();
    healthy.apply(&WEB.replace("lTh: 4", "lTh: 3"));
    until_switched(&mut healthy);
    let both = [(2, &there), (3, &back), (4, &there), (5, &back)];
    assert_eq!(
        affinities(&healthy),
        both.map(|(spi, name)| (spi, name.clone()))
    );
    let mut dead = carried();
    dead.kill_container("box1", "nat-1");
    until_switched(&mut dead);
    assert_eq!(
        affinities(&dead),
        [(2, None), (3, None), (4, there), (5, back)]
    );
}

#[test]
fn an_agent_may_be_restarted() {
    let mut cluster = carried();
    cluster.presence(&node("box1"), Presence::Offline);
    cluster.settle();
    cluster.now_ms += 1_000;
    cluster.settle();
    cluster.presence(&node("box1"), Presence::Online);
    cluster.settle();
    assert_eq!(cluster.story, Vec::<String>::new());
    cluster.presence(&node("box1"), Presence::Offline);
    cluster.cut("box1");
    cluster.pass(2_000);
    assert!(
        cluster.status("web").starts_with("Broken: "),
        "{}",
        cluster.status("web")
    );
    assert!(cluster.told().contains("box1 went offline"));
}

/// A second chain through the same functions, from another box.
const ADMIN: &str = "\
apiVersion: kcluster/v1
kind: Chain
metadata: {name: admin}
spec:
  functions: [nat]
  from: {node: box2, interface: client0}
  to: {node: box3, interface: server0}
  match: [{protocol: tcp, destinationPorts: 443}]
";

/// The VLAN of a chain's newest path at its NAT.
fn leg(cluster: &Cluster, chain: &str) -> Option<u16> {
    let chains = cluster.state.chains.iter();
    let mut chains = chains.filter(|(name, _)| name.as_str() == chain);
    let path = chains.next()?.1.paths.last()?;
    path.instances.last()?.vlan.map(kc_forwarder_api::Vid::get)
}

#[test]
fn chains_through_one_nat_have_legs_of_their_own_in_it() {
    let per_path = WEB.replace(
        "{image: n, replicas: 3,",
        "{image: n, replicas: 1, legs: per-path,",
    );
    let mut cluster = Cluster::new(3);
    cluster.apply(&per_path);
    cluster.apply(ADMIN);
    cluster.settle();
    assert_eq!(
        (leg(&cluster, "web"), leg(&cluster, "admin")),
        (Some(4), Some(3))
    );
    let documents = cluster.think().documents;
    let tables = &documents[&node("box1")].forwarder;
    let nats = tables
        .functions
        .iter()
        .filter(|f| f.name.as_str().starts_with("nat"));
    let told: Vec<_> = nats
        .map(|function| serde_json::to_string(function).unwrap())
        .collect();
    let hops = tables.paths.iter().flat_map(|path| {
        let hops = path
            .hops
            .iter()
            .map(move |hop| serde_json::to_string(&(path.spi, hop)).unwrap());
        hops.filter(|hop| hop.contains("nat"))
    });
    let told: Vec<_> = told.into_iter().chain(hops).collect();
    insta::assert_snapshot!(told.join("\n"));

    // A new path of a chain finds its flows' state where the former one left it.
    cluster.kill_container("box1", "firewall-1");
    cluster.settle();
    assert_eq!(leg(&cluster, "web"), Some(4));
    // A chain that comes later takes none that was in use a moment ago.
    cluster.delete("chain/admin");
    cluster.settle();
    cluster.pass(10_000);
    cluster.apply(ADMIN);
    cluster.settle();
    assert!(leg(&cluster, "admin").is_some_and(|vlan| vlan > 4));
}

#[test]
fn what_answers_flows_of_a_dead_path_takes_the_way_back_of_the_one_that_carries() {
    let mut cluster = carried();
    cluster.kill_container("box1", "firewall-1");
    for _ in 0..12 {
        let plan = cluster.think();
        cluster.publish(&plan);
        for name in cluster.boxes.keys().cloned().collect::<Vec<_>>() {
            cluster.work(&name);
        }
    }
    let chain = cluster.state.chains.values().next().unwrap();
    let carrying = chain.carrying().unwrap();
    let mut paths = chain.paths.iter();
    let dead = paths.find(|path| path.dead && path.is_former()).unwrap();
    let instead = [
        (Some(dead.forward), carrying.reverse),
        (dead.reverse, Some(carrying.forward)),
    ];
    for name in carrying.nodes().intersection(&dead.nodes()) {
        let tables = &cluster.boxes[*name].tables;
        for (left, instead) in instead {
            let part = tables.paths.iter().find(|path| Some(path.spi) == left);
            let part = part.unwrap();
            assert_eq!((part.reverse, &part.affinity), (instead, &None));
        }
    }
}
