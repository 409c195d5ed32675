//! The findings and the verdict, as a table for people and as JSON for programs.

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde::Serialize;

use super::{
    error::Error,
    findings::{Findings, Lookup},
    times::Times,
    verdict::{Diagnosis, Verdict},
};

/// What `--json` prints.
#[derive(Serialize)]
struct Json<'a> {
    healthy: bool,
    #[serde(flatten)]
    diagnosis: &'a Diagnosis,
    #[serde(flatten)]
    findings: &'a Findings,
}

/// The object that `--json` prints, on one line.
pub(super) fn json(findings: &Findings, diagnosis: &Diagnosis) -> Result<String, Error> {
    let healthy = diagnosis.is_healthy();
    serde_json::to_string(&Json { healthy, diagnosis, findings })
        .map_err(|error| Error::io("write the findings")(error.into()))
}

/// The table, what is worth a line below it, and the verdict last.
pub(super) fn text(findings: &Findings, diagnosis: &Diagnosis, colours: bool) -> String {
    let mut lines = vec![table(findings)];
    lines.extend(notes(findings));
    lines.push(verdict(diagnosis, colours));
    lines.join("\n")
}

fn table(findings: &Findings) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header([findings.url.as_str(), "tries", "failed", "p50", "p90", "longest"]);
    let mut row = |name: String, times: &Times| {
        if times.tries == 0 {
            return;
        }
        let (tries, failed) = (times.tries.to_string(), times.failed.to_string());
        let [p50, p90, longest] = match times.took {
            Some(took) => [took.p50_ms, took.p90_ms, took.max_ms].map(ms),
            None => Default::default(),
        };
        table.add_row([name, tries, failed, p50, p90, longest]);
    };
    for lookup in &findings.lookups {
        let fastest = findings.fastest.as_ref() == Some(&lookup.resolver);
        let mark = if fastest { ", fastest" } else { "" };
        row(format!("name by {}{mark}", lookup.resolver), &lookup.times);
    }
    for to in &findings.connects {
        row(format!("connect to {}", to.address), &to.times);
    }
    if let Some(handshake) = &findings.handshake {
        row("TLS handshake".to_owned(), &handshake.times);
    }
    row("first byte".to_owned(), &findings.requests.first_byte);
    row("whole call, new connection".to_owned(), &findings.requests.total);
    row("whole call, kept connection".to_owned(), &findings.requests.kept);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

fn notes(findings: &Findings) -> Vec<String> {
    let mut notes = Vec::new();
    for url in &findings.followed {
        notes.push(format!("redirected from {url}"));
    }
    notes.extend(findings.lookups.iter().filter_map(unreached));
    if let Some(why) = findings.not_asked {
        notes.push(format!("public resolvers were not asked: {why}"));
    }
    notes.extend(answers(findings));
    for (name, value) in &findings.requests.headers {
        notes.push(format!("{name}: {value}"));
    }
    if findings.requests.held_back {
        notes.push("no more requests were sent, as the server asked".to_owned());
    }
    if let Some(location) = &findings.requests.location {
        notes.push(format!("it points to {location}; give --follow to go there"));
    }
    let files = &findings.files;
    if let Some(allowed) = files.allowed {
        let (pool, needed) = (files.pool, files.needed);
        notes.push(format!("open files: {allowed} allowed, a pool of {pool} needs {needed}"));
    }
    if findings.cut_short {
        notes.push("time was up before everything was done; give more with --within".to_owned());
    }
    notes
}

fn unreached(lookup: &Lookup) -> Option<String> {
    let error = lookup.error.as_ref()?;
    let how = match (lookup.reached, lookup.untrusted) {
        (_, true) => "is not who it should be",
        (true, false) => "says",
        (false, false) => "cannot be reached",
    };
    Some(format!("{} {how}: {error}", lookup.resolver))
}

/// What came back, in so many words.
fn answers(findings: &Findings) -> Option<String> {
    let requests = &findings.requests;
    if requests.statuses.is_empty() {
        return None;
    }
    let counts = requests.statuses.iter().map(|(status, count)| format!("{count} x {status}"));
    let counts = counts.collect::<Vec<_>>().join(", ");
    let version = requests.version.unwrap_or("HTTP");
    let tls = findings.handshake.as_ref().and_then(|handshake| handshake.version.as_deref());
    let over =
        tls.map(|version| format!(" over {}", version.replace("v1_", " 1."))).unwrap_or_default();
    let known = requests.with_status(|status| matches!(status, 400..=428 | 430..=499)) > 0;
    let hint = if known { "; that is about the request, not about the way" } else { "" };
    Some(format!("answers: {counts}, {version}{over}{hint}"))
}

fn verdict(diagnosis: &Diagnosis, colours: bool) -> String {
    let Diagnosis { verdict, because, next } = diagnosis;
    let colour = match verdict {
        Verdict::Healthy => "32",
        Verdict::Busy | Verdict::Limited => "33",
        _ => "31",
    };
    let name = verdict.as_str();
    let name = if colours { format!("\x1b[1;{colour}m{name}\x1b[0m") } else { name.to_owned() };
    format!("verdict: {name}: {because}. {next}")
}

/// Milliseconds as people read them.
pub(super) fn ms(ms: f64) -> String {
    if ms >= 10_000.0 {
        return format!("{:.1} s", ms / 1_000.0);
    }
    if ms >= 1_000.0 {
        return format!("{:.2} s", ms / 1_000.0);
    }
    if ms >= 100.0 {
        return format!("{ms:.0} ms");
    }
    if ms >= 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.2} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_three_digits() {
        let written = [0.123, 1.5, 12.34, 123.4, 1_234.5, 12_345.6].map(ms);
        assert_eq!(written, ["0.12 ms", "1.50 ms", "12.3 ms", "123 ms", "1.23 s", "12.3 s"]);
    }

    #[test]
    fn the_verdict_has_a_colour_only_where_it_is_wanted() {
        let diagnosis = Diagnosis::of(&Findings::default());
        assert!(verdict(&diagnosis, true).contains("\x1b[1;"));
        assert!(!verdict(&diagnosis, false).contains('\x1b'));
    }
}
