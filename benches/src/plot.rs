//! Medians as bars, in SVG.

use std::fmt::Write as _;

use crate::report::{Report, Row, figure};

/// The figures that are drawn, and what they mean.
const FIGURES: [(&str, &str); 10] = [
    ("tcp1_cpu_per_gbit", "TCP, processor time per gigabit"),
    ("wire9000_cpu_per_gbit", "the same, MTU 9000, no offloads"),
    ("udp64_cpu_us", "UDP of 64 bytes, processor time"),
    ("udp64_oneway_cpu_us", "the same, never answered"),
    ("rtt_spin_p50_us", "round trip"),
    ("connect_cpu_us", "connection, processor time"),
    ("samehost_udp64_cpu_us", "UDP of 64 bytes on one host"),
    ("samehost_rtt_spin_p50_us", "round trip on one host"),
    ("tcp1_gbps", "TCP, Gbit/s (more is better)"),
    ("wire1500_gbps", "TCP without offloads, Gbit/s (more is better)"),
];

/// The ways, and the colour of each.
const CONFIGS: [(&str, &str); 6] = [
    ("direct", "#b0b7bd"),
    ("plain", "#6b7780"),
    ("br1000", "#d9a441"),
    ("rtipt", "#c4703f"),
    ("ovs", "#8f6bb3"),
    ("andromede", "#1f6fb2"),
];

/// Width of the labels at the left, of a bar that is as long as plain's, and of the longest bar.
const LABELS: f64 = 330.0;
const UNIT: f64 = 150.0;
const LONGEST: f64 = 560.0;
/// Height of a bar, and between groups.
const BAR: f64 = 13.0;
const GAP: f64 = 14.0;
const TOP: f64 = 40.0;

/// Each figure of each way beside that of plain routing, whose bar is of the same length everywhere.
pub(crate) fn beside_plain(report: &Report) -> String {
    let of = |metric: &str, config: &str| report.rows.iter().find(|row| row.metric == metric && row.config == config);
    let mut body = String::new();
    let mut y = TOP;
    for (metric, title) in FIGURES {
        let Some(plain) = of(metric, "plain") else { continue };
        let rows: Vec<(&Row, &str)> =
            CONFIGS.iter().filter_map(|(config, color)| Some((of(metric, config)?, *color))).collect();
        text(&mut body, LABELS - 12.0, y + BAR, "end", title);
        for (row, color) in rows {
            bar(&mut body, y, row, plain.median, color);
            y += BAR + 1.0;
        }
        y += GAP;
    }
    let right = LABELS + LONGEST + 90.0;
    let mut legend = String::new();
    for ((config, color), number) in CONFIGS.iter().zip(0_u8..) {
        let x = LABELS + f64::from(number) * 92.0;
        // Writing to a string cannot fail.
        let _ = writeln!(legend, r#"<rect x="{x:.0}" y="10" width="12" height="12" fill="{color}"/>"#);
        text(&mut legend, x + 17.0, 20.0, "start", config);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{right:.0}\" height=\"{y:.0}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{legend}{body}\
         <line x1=\"{line:.0}\" y1=\"30\" x2=\"{line:.0}\" y2=\"{y:.0}\" stroke=\"#6b7780\" stroke-dasharray=\"3 3\"/>\n</svg>\n",
        line = LABELS + UNIT,
    )
}

fn bar(body: &mut String, y: f64, row: &Row, plain: f64, color: &str) {
    let length = (row.median / plain * UNIT).min(LONGEST);
    let _ =
        writeln!(body, r#"<rect x="{LABELS:.0}" y="{y:.0}" width="{length:.0}" height="{BAR:.0}" fill="{color}"/>"#);
    text(body, LABELS + length + 5.0, y + BAR - 2.0, "start", &figure(row.median));
}

fn text(body: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ = writeln!(body, r#"<text x="{x:.0}" y="{y:.0}" text-anchor="{anchor}">{text}</text>"#);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Machine;

    #[test]
    fn bars_are_as_long_as_figures_are_beside_plain() {
        let row = |config: &str, value: f64| Row::new("udp64_cpu_us", config, 0, &[value]);
        let rows = vec![row("plain", 4.0), row("andromede", 2.0), row("rtipt", 400.0)];
        let svg = beside_plain(&Report { machine: Machine::this(), rows, ratios: Vec::new() });
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains(&format!("width=\"{UNIT:.0}\" height")), "plain is the unit");
        assert!(svg.contains(&format!("width=\"{:.0}\" height", UNIT / 2.0)), "half of it");
        assert!(svg.contains(&format!("width=\"{LONGEST:.0}\" height")), "no bar leaves the picture");
    }
}
