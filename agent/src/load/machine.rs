//! What the kernel says of the box, read from its text. Pure.

use kc_agent_api::NetworkLoad;
use procfs::prelude::{FromBufRead, FromRead};
use procfs::{LoadAverage, Meminfo};

/// Time all cores have spent since boot, in the kernel's ticks, and how many cores there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// Not idle and not waiting for a disk.
    pub busy: u64,
    /// Altogether.
    pub total: u64,
    /// Cores online.
    pub cores: u32,
}

/// Reads `/proc/stat`.
pub fn cpu_times(stat: &str) -> Option<CpuTimes> {
    let mut times = CpuTimes::default();
    for line in stat.lines() {
        let Some(rest) = line.strip_prefix("cpu") else {
            break;
        };
        if let Some(sum) = rest.strip_prefix(' ') {
            // user nice system idle iowait irq softirq steal; what follows is part of user.
            let mut columns = [0; 8];
            for (column, text) in columns.iter_mut().zip(sum.split_whitespace()) {
                *column = text.parse().ok()?;
            }
            let idle = columns[3] + columns[4];
            times.total = columns.iter().sum();
            times.busy = times.total - idle;
        } else {
            times.cores += 1;
        }
    }
    (times.total > 0).then_some(times)
}

/// Busy share between two readings, percent.
pub fn busy_percent(before: CpuTimes, now: CpuTimes) -> f32 {
    let total = now.total.saturating_sub(before.total);
    // Waiting for a disk is counted by the core the waiter last ran on, and may go back a tick.
    let busy = now.busy.saturating_sub(before.busy).min(total);
    percent(busy, total)
}

/// `part` of `whole` in percent; 0 of nothing is 0.
pub fn percent(part: u64, whole: u64) -> f32 {
    if whole == 0 {
        0.0
    } else {
        100.0 * part as f32 / whole as f32
    }
}

/// Reads `/proc/meminfo`: bytes that cannot be had without swapping, and all bytes.
pub fn memory(meminfo: &str) -> Option<(u64, u64)> {
    let info = Meminfo::from_buf_read(meminfo.as_bytes()).ok()?;
    // Kernels before 3.14 estimate nothing.
    let available = info
        .mem_available
        .unwrap_or(info.mem_free + info.buffers + info.cached);
    Some((info.mem_total.saturating_sub(available), info.mem_total))
}

/// Reads `/proc/loadavg`: the one-minute average.
pub fn load_1m(loadavg: &str) -> Option<f32> {
    Some(LoadAverage::from_read(loadavg.as_bytes()).ok()?.one)
}

/// Reads `/proc/uptime`: whole seconds since boot.
pub fn uptime_s(uptime: &str) -> Option<u64> {
    uptime.split(['.', ' ']).next()?.parse().ok()
}

/// Reads a thermal zone's `temp`, thousandths of a degree Celsius.
pub fn temperature_c(temp: &str) -> Option<f32> {
    let thousandths: i32 = temp.trim().parse().ok()?;
    // A sensor that is off says 0, or something below any winter.
    (thousandths > 0).then_some(thousandths as f32 / 1000.0)
}

/// Reads the Pi firmware's `get_throttled`.
///
/// Bits 0 to 3 are now: under-voltage, frequency capped, throttled, soft temperature limit. Bits
/// 16 to 19 say the same of any time since boot.
pub fn firmware_flags(get_throttled: &str) -> Option<u32> {
    let text = get_throttled.trim();
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u32::from_str_radix(digits, 16).ok()
}

/// Whether the clock is held back now, by [`firmware_flags`].
pub fn throttled(get_throttled: &str) -> Option<bool> {
    Some(firmware_flags(get_throttled)? & 0xf != 0)
}

/// Reads `/proc/net/dev`, in its order.
pub fn interfaces(dev: &str) -> Vec<NetworkLoad> {
    dev.lines().skip(2).filter_map(interface).collect()
}

fn interface(line: &str) -> Option<NetworkLoad> {
    // An alias such as eth0:1 has a colon of its own, a counter never has.
    let (name, counters) = line.rsplit_once(':')?;
    let mut column = counters.split_whitespace().map(str::parse);
    let rx_bytes = column.next()?.ok()?;
    let rx_packets = column.next()?.ok()?;
    // errs drop fifo frame compressed multicast
    let tx_bytes = column.nth(6)?.ok()?;
    let tx_packets = column.next()?.ok()?;
    Some(NetworkLoad {
        name: name.trim().to_owned(),
        rx_bytes,
        tx_bytes,
        rx_packets,
        tx_packets,
        speed_mbit: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PI_STAT: &str = "\
cpu  10132153 290696 3084719 46828483 16683 0 25195 0 175628 0
cpu0 1393280 32966 572056 13343292 6130 0 17875 0 23933 0
cpu1 2891236 76230 790421 11046573 4023 0 3021 0 41021 0
cpu2 2903424 90750 860121 11216392 3390 0 2150 0 55337 0
cpu3 2944213 90750 862121 11222226 3140 0 2149 0 55337 0
intr 199292 0 0
ctxt 123
";
    const PI_MEMINFO: &str = "\
MemTotal:         945672 kB
MemFree:           71732 kB
MemAvailable:     521196 kB
Buffers:           35420 kB
Cached:           428660 kB
SwapCached:            0 kB
Active:           402136 kB
Inactive:         343928 kB
SwapTotal:        102396 kB
SwapFree:         102396 kB
Dirty:                 8 kB
Writeback:             0 kB
AnonPages:        282000 kB
Mapped:           130000 kB
Shmem:             12000 kB
Slab:              50000 kB
SReclaimable:      24000 kB
SUnreclaim:        26000 kB
KernelStack:        2000 kB
PageTables:         6000 kB
NFS_Unstable:          0 kB
Bounce:                0 kB
WritebackTmp:          0 kB
CommitLimit:      575232 kB
Committed_AS:    1200000 kB
VmallocTotal:    1114112 kB
VmallocUsed:        5000 kB
VmallocChunk:          0 kB
";
    const DEV: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 5408396   33120    0    0    0     0          0         0  5408396   33120    0    0    0     0       0          0
  eth0:18446744073709551615 1500000    0   12    0     0          0      3042 92039812  801234    0    0    0     0       0          0
eth0:1:       1       2    0    0    0     0          0         0        3       4    0    0    0     0       0          0
broken: 1 2
";

    #[test]
    fn a_pi_has_four_cores_and_its_waiting_is_not_busy() {
        let times = cpu_times(PI_STAT).unwrap();
        assert_eq!(times.cores, 4);
        assert_eq!(times.total - times.busy, 46_828_483 + 16_683);
        assert_eq!(cpu_times("intr 1 2 3"), None);
        assert_eq!(cpu_times("cpu  a b c"), None);
    }

    #[test]
    fn busy_is_a_share_of_what_passed_and_never_more() {
        let at = |busy, total| CpuTimes {
            busy,
            total,
            cores: 1,
        };
        assert_eq!(busy_percent(at(100, 1000), at(150, 1200)), 25.0);
        assert_eq!(busy_percent(at(100, 1000), at(100, 1000)), 0.0);
        assert_eq!(busy_percent(at(100, 1000), at(99, 1000)), 0.0);
        assert_eq!(busy_percent(at(0, 1000), at(20, 1010)), 100.0);
    }

    #[test]
    fn memory_in_use_is_what_is_not_available() {
        let (used, total) = memory(PI_MEMINFO).unwrap();
        assert_eq!(total, 945_672 * 1024);
        assert_eq!(used, (945_672 - 521_196) * 1024);
        assert_eq!(memory("nonsense"), None);
    }

    #[test]
    fn load_uptime_and_heat_are_read() {
        assert_eq!(load_1m("0.42 0.36 0.30 1/312 20104\n"), Some(0.42));
        assert_eq!(load_1m(""), None);
        assert_eq!(uptime_s("350735.47 234388.90\n"), Some(350_735));
        assert_eq!(uptime_s("soon"), None);
        assert_eq!(temperature_c("48312\n"), Some(48.312));
        assert_eq!(temperature_c("-274000\n"), None);
        assert_eq!(temperature_c(""), None);
    }

    #[test]
    fn only_what_the_firmware_does_now_is_throttling() {
        assert_eq!(throttled("0\n"), Some(false));
        assert_eq!(throttled("0x50005\n"), Some(true));
        assert_eq!(throttled("50000\n"), Some(false));
        assert_eq!(throttled("8\n"), Some(true));
        assert_eq!(throttled("vcgencmd: not found"), None);
    }

    #[test]
    fn interfaces_are_read_whatever_sticks_to_their_colon() {
        let all = interfaces(DEV);
        let names: Vec<_> = all.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(names, ["lo", "eth0", "eth0:1"]);
        assert_eq!(
            (
                all[1].rx_bytes,
                all[1].rx_packets,
                all[1].tx_bytes,
                all[1].tx_packets
            ),
            (u64::MAX, 1_500_000, 92_039_812, 801_234)
        );
        assert!(interfaces("").is_empty());
    }
}
