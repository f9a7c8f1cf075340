//! `kc describe` and `kc explain`: the whole story of one thing.

use super::args::{DescribeArgs, ExplainArgs, Format};
use super::client::Client;
use super::failure::Failure;
use super::get::{escape, missing};
use super::human;
use super::kind::Kind;
use super::print;
use super::rows::{Listed, output_text, status};
use crate::alarm::AlarmReport;
use crate::store::StoredEvent;
use crate::views::{
    ChainView, ExplainView, FunctionView, InstanceView, NodeView, PacketIoView, PathView,
    SecretView, ServiceView, StackView, UpdateStateView, UpdateView,
};
use std::collections::BTreeSet;

/// Events at the end of a story.
const EVENTS: u32 = 10;

/// Tells the whole story of one thing.
pub(super) async fn describe(client: &Client, args: &DescribeArgs) -> Result<(), Failure> {
    let name = &args.name;
    let mut story = Story::default();
    let about: Vec<String> = match args.kind {
        Kind::Nodes => {
            let node: NodeView = find(client, name).await?;
            let instances: Vec<InstanceView> = client.get("/api/v1/instances").await?;
            story.node(&node, &instances);
            vec![name.clone()]
        }
        Kind::Chains => {
            let chain: ChainView = find(client, name).await?;
            story.chain(&chain);
            // What happens to its instances happens to the chain.
            let on = |place: &String| place.split('@').next().map(str::to_owned);
            let instances = chain.path.iter().filter_map(on);
            let members = chain.members.iter().map(|member| member.name.clone());
            let all: BTreeSet<_> = instances.chain(members).collect();
            [name.clone()].into_iter().chain(all).collect()
        }
        Kind::Functions => {
            let function: FunctionView = find(client, name).await?;
            let instances: Vec<InstanceView> = client.get("/api/v1/instances").await?;
            story.function(&function, &instances);
            owned(name, "function", &instances)
        }
        Kind::Services => {
            let service: ServiceView = find(client, name).await?;
            story.service(&service);
            let replicas = service.endpoints.iter().map(|e| e.instance.clone());
            [name.clone()].into_iter().chain(replicas).collect()
        }
        Kind::Instances => {
            let instance: InstanceView = find(client, name).await?;
            story.instance(&instance);
            vec![name.clone()]
        }
        Kind::Paths => {
            let path: PathView = find(client, name).await?;
            story.field("Chain", &path.chain);
            story.path(&path);
            vec![path.chain]
        }
        Kind::Secrets => {
            let secret: SecretView = find(client, name).await?;
            story.secret(&secret);
            vec![name.clone()]
        }
        Kind::Stacks => {
            let stack: StackView = find(client, name).await?;
            story.stack(&stack);
            let members = stack.resources.iter().map(|member| member.name.clone());
            [name.clone()].into_iter().chain(members).collect()
        }
        Kind::Alarms => {
            let alarm: AlarmReport = find(client, name).await?;
            story.alarm(&alarm);
            let owner = alarm
                .object
                .split_once('/')
                .map(|(_, name)| name.to_owned());
            owner.into_iter().collect()
        }
        Kind::Events => {
            return Err(Failure::Usage(
                "events have no more to tell; kc events lists them".to_owned(),
            ));
        }
    };
    let path = format!(
        "/api/v1/events?limit={EVENTS}&about={}",
        escape(&about.join(","))
    );
    let events: Vec<StoredEvent> = client.get(&path).await?;
    story.events(&events);
    print::raw(&story.text)
}

/// A resource and its instances.
fn owned(name: &str, role: &str, instances: &[InstanceView]) -> Vec<String> {
    let own = instances
        .iter()
        .filter(|instance| instance.role == role && instance.owner == name)
        .map(|instance| instance.name.clone());
    [name.to_owned()].into_iter().chain(own).collect()
}

/// Why a chain takes the path it takes.
pub(super) async fn explain(client: &Client, args: &ExplainArgs) -> Result<(), Failure> {
    if args.kind != Kind::Chains {
        return Err(Failure::Usage(format!(
            "only chains can be explained: kc explain chain {}",
            args.name
        )));
    }
    let _: ChainView = find(client, &args.name).await?;
    let path = format!("/api/v1/chains/{}/explain", escape(&args.name));
    let view: ExplainView = client.get(&path).await?;
    if let Some(format @ (Format::Json | Format::Yaml)) = args.output {
        return print::value(&view, format);
    }
    let mut story = Story::default();
    story.field("Chain", &view.chain);
    story.field("State", &view.state);
    if let Some(reason) = &view.reason {
        story.field("Reason", reason);
    }
    story.field("Path", &arrows(&view.path));
    story.list("Why", &view.lines);
    if let Some(what_if) = &view.what_if {
        let names = |place: &String| place.split('@').next().map(str::to_owned);
        let now: Vec<String> = view.path.iter().filter_map(names).collect();
        if !what_if.path.is_empty() && now != what_if.path {
            let chosen = what_if.path.join(" -> ");
            let message = format!("{chosen}; the path stays as long as it is healthy");
            story.field("Chosen anew", &message);
        }
        let lines: Vec<String> = what_if.to_string().lines().map(str::to_owned).collect();
        story.list("What would change the choice", &lines);
    }
    print::raw(&story.text)
}

/// One thing by its name, or the nearest name.
pub(super) async fn find<T: Listed>(client: &Client, name: &str) -> Result<T, Failure> {
    let all: Vec<T> = client.get(&format!("/api/v1/{}", T::KIND)).await?;
    let names: Vec<String> = all.iter().map(Listed::name).collect();
    all.into_iter()
        .find(|item| item.name() == name)
        .ok_or_else(|| missing(T::KIND, name, &names))
}

fn arrows(path: &[String]) -> String {
    if path.is_empty() {
        "none".to_owned()
    } else {
        path.join(" -> ")
    }
}

/// Text with fields of one width.
#[derive(Debug, Default)]
struct Story {
    text: String,
}

impl Story {
    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn field(&mut self, name: &str, value: &str) {
        let value = if value.is_empty() { "-" } else { value };
        self.line(&format!("{:<14}{value}", format!("{name}:")));
    }

    fn list(&mut self, name: &str, lines: &[String]) {
        if !lines.is_empty() {
            self.line(&format!("{name}:"));
            for line in lines {
                self.line(&format!("  {line}"));
            }
        }
    }

    fn since(ms: Option<u64>) -> String {
        ms.map_or_else(String::new, |ms| {
            format!(" for {}", human::age(ms, human::now_ms()))
        })
    }

    fn node(&mut self, node: &NodeView, instances: &[InstanceView]) {
        self.field("Node", &node.name);
        let since = Self::since(node.since_ms);
        self.field("Status", &format!("{}{since}", status(node)));
        let titles = <NodeView as Listed>::COLUMNS;
        let row = node.row(human::now_ms());
        for (column, cell) in titles.iter().zip(&row).skip(3) {
            let mut title = column.title.to_owned();
            if !["CPU", "MTU", "VTEP"].contains(&column.title)
                && let Some(rest) = title.get_mut(1..)
            {
                rest.make_ascii_lowercase();
            }
            self.field(&title, cell);
        }
        let here: Vec<String> = instances
            .iter()
            .filter(|instance| instance.node.as_deref() == Some(&node.name))
            .map(|i| format!("{} ({}/{}): {}", i.name, i.role, i.owner, i.phase))
            .collect();
        self.list("Instances", &here);
        let drops: Vec<String> = node
            .drops
            .iter()
            .map(|(why, count)| format!("{why}: {count}"))
            .collect();
        let width = |of: fn(&PacketIoView) -> &String| {
            let lengths = node.packet_io.iter().map(|io| of(io).chars().count());
            lengths.max().unwrap_or(0)
        };
        let (name, backend) = (width(|io| &io.name), width(|io| &io.backend));
        let row = |io: &PacketIoView| {
            format!(
                "{:<name$}  {:<backend$}  {}",
                io.name, io.backend, io.reason
            )
        };
        let rows: Vec<String> = node.packet_io.iter().map(row).collect();
        if let Some(update) = &node.update {
            self.field("Update", &updated(update));
        }
        if let Some(evacuation) = &node.evacuation {
            self.list("Leaving", &evacuation.leaving);
            let stays = evacuation.stays.iter();
            let stays = stays.map(|stay| format!("{}: {}", stay.object, stay.why));
            self.list("Stays", &stays.collect::<Vec<_>>());
        }
        self.list("Packet I/O", &rows);
        self.list("Links", &node.links);
        self.list("Speed", &node.speeds);
        self.list("No answer", &node.dead);
        self.list("Drops", &drops);
        if let Some(held) = &node.secrets_held {
            self.field("Secrets held", held);
        }
        self.list("Errors", &node.errors);
    }

    fn secret(&mut self, secret: &SecretView) {
        self.field("Secret", &secret.name);
        let ago = |ms| format!("{} ago", human::age(ms, human::now_ms()));
        self.field("Changed", &secret.since_ms.map_or_else(String::new, ago));
        let keys = secret.keys.iter();
        let keys: Vec<String> = keys
            .map(|key| format!("{}: {} octets", key.name, key.octets))
            .collect();
        self.list("Keys", &keys);
        self.list("Used by", &secret.used_by);
    }

    fn stack(&mut self, stack: &StackView) {
        self.field("Stack", &stack.name);
        if let Some(description) = &stack.description {
            self.field("Description", description);
        }
        let ready = format!("{} of {} resources", stack.ready, stack.resources.len());
        self.field("Ready", &ready);
        let resources = stack.resources.iter();
        let resources: Vec<_> = resources
            .map(|member| format!("{}/{}: {}", member.kind, member.name, member.state))
            .collect();
        self.list("Resources", &resources);
        let about = |text: &Option<String>| {
            let text = text.as_ref();
            text.map_or_else(String::new, |text| format!("  # {text}"))
        };
        let parameters = stack.parameters.iter().map(|parameter| {
            let value = match &parameter.value {
                Some(value) => value.to_string(),
                None => "(hidden)".to_owned(),
            };
            let default = if parameter.default { " (default)" } else { "" };
            let about = about(&parameter.description);
            format!("{}: {value}{default}{about}", parameter.name)
        });
        self.list("Parameters", &parameters.collect::<Vec<_>>());
        let outputs = stack.outputs.iter().map(|output| {
            let about = about(&output.description);
            format!("{}: {}{about}", output.name, output_text(output))
        });
        self.list("Outputs", &outputs.collect::<Vec<_>>());
    }

    fn chain(&mut self, chain: &ChainView) {
        self.field("Chain", &chain.name);
        let since = Self::since(chain.since_ms);
        self.field("State", &format!("{}{since}", chain.state));
        if let Some(reason) = &chain.reason {
            self.field("Reason", reason);
        }
        self.list("No answer", &chain.dead);
        self.field("Functions", &chain.functions.join(" -> "));
        self.field("Scheduler", &chain.scheduler);
        self.field("From", &chain.from);
        self.field("To", &chain.to);
        let matched = if chain.matches.is_empty() {
            "all traffic".to_owned()
        } else {
            chain.matches.join("; ")
        };
        self.field("Traffic", &matched);
        let back = match (chain.symmetric, chain.return_spi) {
            (false, _) => "none".to_owned(),
            (true, Some(spi)) => format!("symmetric, SPI {spi}"),
            (true, None) => "symmetric".to_owned(),
        };
        self.field("Path", &arrows(&chain.path));
        let members = chain.members.iter().map(|one| {
            let away = match one.phase.as_str() {
                "Running" => String::new(),
                phase => format!(", {phase}"),
            };
            format!(
                "{}@{} is {} in {}{away}",
                one.name, one.node, one.role, one.function
            )
        });
        self.list("Members", &members.collect::<Vec<_>>());
        if let Some(spi) = chain.spi {
            self.field("SPI", &spi.to_string());
        }
        self.field("Return", &back);
        self.field(
            "Entered",
            &format!("{} packets, {}", chain.packets, human::bytes(chain.bytes)),
        );
        for path in &chain.paths {
            self.path(path);
        }
        self.list("Why this path", &chain.explanation);
    }

    fn alarm(&mut self, alarm: &AlarmReport) {
        self.field("Alarm", &alarm.name);
        self.field("Of", &alarm.object);
        self.field("When", &alarm.when);
        self.field("Severity", &alarm.severity);
        let state = format!("{}{}", alarm.state, Self::since(alarm.since_ms));
        self.field("State", &state);
        for subject in &alarm.subjects {
            let since = Self::since(Some(subject.since_ms));
            let (name, state, value) = (&subject.name, &subject.state, subject.value);
            self.line(&format!("  {name}: {state}{since}, measured {value:.1}"));
        }
    }

    fn path(&mut self, path: &PathView) {
        let mtu = path
            .mtu
            .map_or_else(String::new, |mtu| format!(", MTU {mtu}"));
        let since = Self::since(path.since_ms);
        self.line(&format!(
            "Path {} ({}): {}{since}{mtu}",
            path.spi, path.direction, path.phase
        ));
        let node = widest(path.hops.iter().map(|hop| hop.node.len()), 4);
        let to = widest(path.hops.iter().map(|hop| hop.to.len()), 4);
        self.line(&format!(
            "  {:<node$}  {:>3}  {:<to$}  {:>12}  BYTES",
            "NODE", "SI", "NEXT", "PACKETS"
        ));
        for hop in &path.hops {
            let packets = hop
                .packets
                .map_or_else(|| "-".to_owned(), |n| n.to_string());
            let bytes = hop.bytes.map_or_else(|| "-".to_owned(), human::bytes);
            self.line(&format!(
                "  {:<node$}  {:>3}  {:<to$}  {packets:>12}  {bytes}",
                hop.node, hop.si, hop.to
            ));
        }
    }

    fn function(&mut self, function: &FunctionView, instances: &[InstanceView]) {
        self.field("Function", &function.name);
        self.field("Type", &function.kind);
        if !function.image.is_empty() {
            self.field("Image", &function.image);
        }
        self.field("Attachment", &function.attachment);
        self.field(
            "Ready",
            &format!("{}/{}", function.ready, function.replicas),
        );
        self.field("Chains", &function.chains.join(", "));
        if let Some(scaling) = &function.scaling {
            self.field("Scaling", scaling);
        }
        if let Some(update) = &function.update {
            self.field("Update", update);
        }
        let own: Vec<String> = instances
            .iter()
            .filter(|i| i.role == "function" && i.owner == function.name)
            .map(|i| {
                let node = i.node.as_deref().unwrap_or("nowhere");
                let why = i
                    .reason
                    .as_ref()
                    .map_or_else(String::new, |r| format!(" ({r})"));
                format!("{} on {node}: {}{why}", i.name, i.phase)
            })
            .collect();
        self.list("Instances", &own);
    }

    fn service(&mut self, service: &ServiceView) {
        self.field("Service", &service.name);
        self.field("Image", &service.image);
        self.field("Network", &service.network);
        if let Some(address) = &service.address {
            self.field("Address", address);
        }
        self.field("Ready", &format!("{}/{}", service.ready, service.replicas));
        if let Some(scaling) = &service.scaling {
            self.field("Scaling", scaling);
        }
        if let Some(update) = &service.update {
            self.field("Update", update);
        }
        let ports: Vec<String> = service.ports.iter().map(u16::to_string).collect();
        self.field("Ports", &ports.join(", "));
        let endpoints: Vec<String> = service
            .endpoints
            .iter()
            .map(|e| {
                let node = e.node.as_deref().unwrap_or("nowhere");
                let address = e.address.as_deref().unwrap_or("no address");
                format!("{} on {node} at {address}: {}", e.instance, e.phase)
            })
            .collect();
        self.list("Endpoints", &endpoints);
    }

    fn instance(&mut self, instance: &InstanceView) {
        self.field("Instance", &instance.name);
        self.field("Of", &format!("{}/{}", instance.role, instance.owner));
        self.field("Node", instance.node.as_deref().unwrap_or("nowhere"));
        self.field("Phase", &instance.phase);
        if let Some(reason) = &instance.reason {
            self.field("Reason", reason);
        }
        if instance.physical {
            let load = instance.cpu_percent;
            self.field("Load", &load.map_or_else(String::new, human::percent));
            self.field("Chains", &instance.chains.join(", "));
            return;
        }
        self.field("Image", &instance.image);
        self.field("Digest", instance.digest.as_deref().unwrap_or(""));
        self.field("Health", instance.health.as_deref().unwrap_or(""));
        self.field("Container", instance.container.as_deref().unwrap_or(""));
        self.field("Address", instance.address.as_deref().unwrap_or(""));
        self.field("Restarts", &instance.restarts.to_string());
        let cpu = instance
            .cpu_percent
            .map_or_else(String::new, human::percent);
        self.field("CPU", &cpu);
        let memory = instance.memory_bytes.map_or_else(String::new, human::bytes);
        self.field("Memory", &memory);
        if let (Some(rx), Some(tx)) = (instance.rx_packets, instance.tx_packets) {
            self.field("Packets", &format!("{rx} in, {tx} out"));
        }
        self.field("Chains", &instance.chains.join(", "));
    }

    fn events(&mut self, events: &[StoredEvent]) {
        let now = human::now_ms();
        let lines: Vec<String> = events
            .iter()
            .map(|event| {
                let node = event
                    .node
                    .as_ref()
                    .map_or_else(String::new, |n| format!(" [{n}]"));
                let age = human::age(event.at_ms, now);
                format!(
                    "{age} ago  {}{node} {}: {}",
                    event.kind, event.object, event.message
                )
            })
            .collect();
        self.list("Events", &lines);
    }
}

fn widest(lengths: impl Iterator<Item = usize>, least: usize) -> usize {
    lengths.max().unwrap_or(0).max(least)
}

/// The newest update in one line.
fn updated(update: &UpdateView) -> String {
    let UpdateView { version, from, .. } = update;
    let reason = update
        .reason
        .as_deref()
        .unwrap_or("the box does not say why");
    match update.state {
        UpdateStateView::Trying => format!("to {version}, on trial"),
        UpdateStateView::Updated => format!("to {version} from {from}"),
        UpdateStateView::Failed => format!("to {version} failed: {reason}"),
        UpdateStateView::Unknown => format!("to {version}: {reason}"),
    }
}
