//! Wear of SD cards and eMMC. An eMMC tells how much of its life is gone (JESD84-B50, EXT_CSD
//! registers DEVICE_LIFE_TIME_EST and PRE_EOL_INFO); of an SD card only what is written is known.

use super::Card;
use super::disk::bytes;
use kc_agent_api::Finding;

const SECTOR: u64 = 512;
const FIX: &str = "copy it to a new card while it still reads (dd, or rpi-clone), and swap them";

/// Judges one card.
pub(super) fn card(card: &Card) -> Finding {
    let check = format!("card {}", card.device);
    let name = card.name.as_deref().unwrap_or("card").trim();
    let life = card.life_time.as_deref().and_then(life);
    let spare = card
        .pre_eol_info
        .as_deref()
        .and_then(number)
        .filter(|spare| *spare != 0);
    match (life, spare) {
        (None, None) => written(card, check, name),
        (life, spare) => {
            let mut found = match life {
                Some(11..) => format!("{name} has outlived its design"),
                Some(tenths) => format!(
                    "{name} has used {} to {} % of its life",
                    tenths * 10 - 10,
                    tenths * 10
                ),
                None => name.to_owned(),
            };
            match spare {
                Some(2) => found.push_str(", and most of its spare blocks"),
                Some(3..) => found.push_str(", and nearly all of its spare blocks"),
                _ => {}
            }
            match (life.unwrap_or(0), spare.unwrap_or(1)) {
                (11.., _) | (_, 3..) => Finding::problem(check, found, FIX),
                (9.., _) | (_, 2) => Finding::warning(check, found, FIX),
                _ => Finding::ok(check, found),
            }
        }
    }
}

/// The worse of the two estimates, in tenths begun; 0 says that it is not told.
fn life(text: &str) -> Option<u64> {
    let worst = text.split_whitespace().filter_map(number).max()?;
    (worst != 0).then_some(worst)
}

fn number(text: &str) -> Option<u64> {
    let digits = text.trim().strip_prefix("0x")?;
    u64::from_str_radix(digits, 16).ok()
}

/// Judges a card that does not tell its wear by what is written to it.
fn written(card: &Card, check: String, name: &str) -> Finding {
    let kind = card.kind.as_deref().unwrap_or("card").trim();
    let untold = format!("{kind} {name} does not tell its wear");
    let Some((total, daily)) = rate(card) else {
        return Finding::ok(check, untold);
    };
    let found = format!(
        "{untold}; {} written since boot, {} a day",
        bytes(total),
        bytes(daily)
    );
    let size = card
        .size
        .as_deref()
        .and_then(|size| size.trim().parse().ok());
    match size.map(|sectors: u64| sectors.saturating_mul(SECTOR)) {
        // A thousand times its size is what a good card bears.
        Some(size) if size > 0 && daily > size => Finding::warning(
            check,
            format!("{found}: more than its size, so it lasts a few years at most"),
            "find the writer (iotop -oa), move logs to memory, or boot from an SSD",
        ),
        _ => Finding::ok(check, found),
    }
}

/// Bytes written since boot, and in a day at this rate; an hour of life is too short to tell.
fn rate(card: &Card) -> Option<(u64, u64)> {
    let uptime = card.uptime_s.filter(|uptime| *uptime >= 3600)?;
    // Documentation/block/stat: the seventh column is sectors written.
    let sectors: u64 = card
        .stat
        .as_deref()?
        .split_whitespace()
        .nth(6)?
        .parse()
        .ok()?;
    let total = sectors.checked_mul(SECTOR)?;
    Some((
        total,
        (u128::from(total) * 86_400 / u128::from(uptime))
            .try_into()
            .ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_agent_api::Severity;

    /// Compute Module 4.
    fn emmc(life_time: &str, pre_eol_info: &str) -> Finding {
        card(&Card {
            device: "mmcblk0".into(),
            kind: Some("MMC\n".into()),
            name: Some("BJTD4R\n".into()),
            life_time: Some(life_time.into()),
            pre_eol_info: Some(pre_eol_info.into()),
            ..Card::default()
        })
    }

    /// A Pi 4 with a 32 GB card.
    fn sd(stat: &str, uptime_s: u64) -> Finding {
        card(&Card {
            device: "mmcblk0".into(),
            kind: Some("SD\n".into()),
            name: Some("SC32G\n".into()),
            stat: Some(stat.into()),
            size: Some("62333952\n".into()),
            uptime_s: Some(uptime_s),
            ..Card::default()
        })
    }

    #[test]
    fn an_emmc_tells_its_life() {
        let young = emmc("0x01 0x02\n", "0x01\n");
        assert_eq!(
            young,
            Finding::ok("card mmcblk0", "BJTD4R has used 10 to 20 % of its life")
        );
        assert_eq!(emmc("0x09 0x02\n", "0x01\n").severity, Severity::Warning);
        assert_eq!(emmc("0x01 0x0b\n", "0x01\n").severity, Severity::Problem);
        assert_eq!(emmc("0x01 0x01\n", "0x02\n").severity, Severity::Warning);
        assert_eq!(emmc("0x00 0x00\n", "0x03\n").severity, Severity::Problem);
    }

    #[test]
    fn of_an_sd_card_only_what_is_written_is_known() {
        let stat = "   35011    10215  2434078   179061    68741    57803  2345678   999123        0   354000  1178184        0        0        0        0\n";
        let calm = sd(stat, 172_800);
        assert_eq!(calm.severity, Severity::Ok);
        assert!(
            calm.found
                .contains("does not tell its wear; 1.1 GiB written since boot, 572.7 MiB a day"),
            "{}",
            calm.found
        );
        let mad = sd(&stat.replace("2345678", "234567800"), 86_400);
        assert_eq!(mad.severity, Severity::Warning, "{}", mad.found);
        let fresh = sd(stat, 60);
        assert!(
            fresh.found.ends_with("does not tell its wear"),
            "{}",
            fresh.found
        );
        assert_eq!(sd("nonsense", 7200).severity, Severity::Ok);
    }
}
