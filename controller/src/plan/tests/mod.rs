//! Plans against a cluster in memory: golden stories, properties, and crashes at every step.

mod alarming;
mod answering;
mod bounds;
mod cluster;
mod clustering;
mod crash;
mod draining;
mod evacuating;
mod golden;
mod invariants;
mod latency;
mod physical;
mod placing;
mod scaling;
mod secrets;
mod standing_by;
mod updating;

use cluster::Cluster;

/// Three functions with three instances each, one per box, and a chain over them.
const WEB: &str = "\
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: firewall}
spec: {image: f, replicas: 3, placement: {nodes: [box1, box2, box3]}}
---
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: dpi}
spec: {image: d, replicas: 3, placement: {nodes: [box1, box2, box3]}}
---
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: nat}
spec: {image: n, replicas: 3, placement: {nodes: [box1, box2, box3]}}
---
apiVersion: kcluster/v1
kind: Chain
metadata: {name: web}
spec:
  functions: [firewall, dpi, nat]
  scheduler: {algorithm: load-path-aware, lTh: 4}
  from: {node: box1, interface: client0}
  to: {node: box3, interface: server0}
";

/// A service with one replica per box.
const HELLO: &str = "\
apiVersion: kcluster/v1
kind: Service
metadata: {name: hello}
spec: {image: h, replicas: 3, ports: [{port: 80}], resources: {cpu: 500m}}
";

/// Three boxes that carry the chain.
fn carried() -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.apply(WEB);
    cluster.settle();
    assert_eq!(cluster.path("web"), ["firewall-1", "dpi-1", "nat-1"]);
    cluster.story.clear();
    cluster
}
