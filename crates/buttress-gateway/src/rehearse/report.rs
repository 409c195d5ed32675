//! The figures of all runs, as a table for people and as JSON for programs.

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde::Serialize;

use super::{error::Error, parameters::Parameters, tally::Figures};

/// What a rehearsal found. Serialises to the object that `--json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Seed of every draw.
    pub seed: u64,
    /// Whether the API had busy spells.
    pub busy: bool,
    /// Endpoints of the API.
    pub endpoints: u64,
    /// Share of the prompts drawn from the common ones.
    pub repeat: f64,
    /// Length of the measured window, in seconds.
    pub seconds: u64,
    /// Through the naive client.
    pub before: Figures,
    /// Through Buttress.
    pub after: Figures,
    /// Through nginx, if it took part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compare: Option<Figures>,
}

impl Report {
    /// Puts the figures of both runs beside the settings they were made with.
    #[must_use]
    pub fn new(parameters: &Parameters, endpoints: u64, before: Figures, after: Figures) -> Self {
        Self {
            seed: parameters.seed,
            busy: parameters.server.busy.is_some(),
            endpoints,
            repeat: parameters.traffic.repeat,
            seconds: parameters.schedule.measured.as_secs(),
            before,
            after,
            compare: None,
        }
    }

    /// Puts the figures of nginx beside them.
    #[must_use]
    pub fn compare(self, nginx: Figures) -> Self {
        Self { compare: Some(nginx), ..self }
    }

    /// The object that `--json` prints, on one line.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a figure is not a number.
    pub fn json(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(|error| Error::io("write the figures")(error.into()))
    }

    fn title(&self) -> String {
        let weather = if self.busy { "busy" } else { "calm" };
        let endpoints = match self.endpoints {
            1 => String::new(),
            many => format!(", {many} endpoints"),
        };
        format!("{weather}{endpoints}, seed {}, {} s measured", self.seed, self.seconds)
    }

    /// What no client can change, so that nobody looks for it in the table.
    #[must_use]
    pub fn note(&self, parameters: &Parameters) -> String {
        let slots = f64::from(u32::try_from(parameters.server.slots).unwrap_or(u32::MAX));
        let capacity = slots / parameters.server.service_mean.as_secs_f64();
        let kept = if self.repeat > 0.0 {
            " What was asked before is answered by Buttress (after) out of its cache."
        } else {
            ""
        };
        if self.endpoints == 1 {
            return format!(
                "One endpoint answers at most {capacity:.0} calls a second, whatever the client \
                 does: calls that no longer fail wait for their turn instead.{kept}"
            );
        }
        let endpoints = u32::try_from(self.endpoints).unwrap_or(u32::MAX);
        let total = capacity * f64::from(endpoints);
        format!(
            "Each endpoint answers at most {capacity:.0} calls a second, all of them {total:.0}. \
             The naive client (before) knows one of them.{kept}"
        )
    }

    /// The table: one line a figure; before, after, change, and nginx if it took part.
    #[must_use]
    pub fn table(&self) -> String {
        let (before, after) = (&self.before, &self.after);
        let mut table = Table::new();
        let title = self.title();
        let header = [title.as_str(), "before", "after", "change"];
        let compare = self.compare.as_ref();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header(header.into_iter().chain(compare.map(|_| "nginx")));
        let mut line = |name: &str, unit: &Unit, pick: fn(&Figures) -> f64| {
            let (before, after) = (pick(before), pick(after));
            let row =
                [name.to_owned(), unit.show(before), unit.show(after), unit.change(before, after)];
            table.add_row(row.into_iter().chain(compare.map(|side| unit.show(pick(side)))));
        };
        line("mean time", &Unit::Seconds, |side| side.mean_s);
        line("p50 time", &Unit::Seconds, |side| side.p50_s);
        line("p99 time", &Unit::Seconds, |side| side.p99_s);
        line("failed calls", &Unit::Percent, |side| side.failed_pct);
        line("good calls per second", &Unit::Rate, |side| side.good_per_s);
        line("retries per call", &Unit::Ratio, |side| side.retries_per_call);
        line("requests that reached the servers", &Unit::Count, |side| {
            // Shown only; far below 2^52.
            f64::from(u32::try_from(side.server_requests).unwrap_or(u32::MAX))
        });
        line("slots of the servers in use", &Unit::Percent, |side| side.slots_taken_pct);
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.trim_fmt()
    }
}

enum Unit {
    Seconds,
    Percent,
    Rate,
    Ratio,
    Count,
}

impl Unit {
    fn show(&self, value: f64) -> String {
        match self {
            Self::Seconds => format!("{value:.3} s"),
            Self::Percent => format!("{value:.2} %"),
            Self::Rate => format!("{value:.1}"),
            Self::Ratio => format!("{value:.2}"),
            Self::Count => format!("{value:.0}"),
        }
    }

    fn change(&self, before: f64, after: f64) -> String {
        if matches!(self, Self::Percent) {
            return format!("{:+.2} points", after - before);
        }
        if before == 0.0 {
            return if after == 0.0 { "none".to_owned() } else { "from none".to_owned() };
        }
        format!("{:+.1} %", 100.0 * (after - before) / before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(mean_s: f64, failed_pct: f64, server_requests: u64) -> Figures {
        Figures {
            mean_s,
            p50_s: 2.1,
            p99_s: 4.0,
            failed_pct,
            good_per_s: 119.6,
            retries_per_call: 4.25,
            server_requests,
            availability_pct: 100.0 - failed_pct,
            calls: 4_100,
            slots_taken_pct: 98.5,
        }
    }

    fn report() -> Report {
        let before = figures(2.24, 12.5, 21_600);
        let after = figures(1.12, 0.0, 5_400);
        Report::new(&Parameters::default(), 1, before, after)
    }

    #[test]
    fn json_has_exactly_the_fields_that_programs_read() {
        let expected = concat!(
            r#"{"seed":0,"busy":false,"endpoints":1,"repeat":0.0,"seconds":30,"#,
            r#""before":{"mean_s":2.24,"p50_s":2.1,"p99_s":4.0,"failed_pct":12.5,"#,
            r#""good_per_s":119.6,"retries_per_call":4.25,"server_requests":21600,"#,
            r#""availability_pct":87.5,"calls":4100},"#,
            r#""after":{"mean_s":1.12,"p50_s":2.1,"p99_s":4.0,"failed_pct":0.0,"#,
            r#""good_per_s":119.6,"retries_per_call":4.25,"server_requests":5400,"#,
            r#""availability_pct":100.0,"calls":4100}}"#,
        );
        assert_eq!(report().json().unwrap(), expected);
    }

    #[test]
    fn the_table_sets_the_runs_side_by_side() {
        let table = report().table();
        let row = |name: &str| {
            let line = table.lines().find(|line| line.contains(name)).unwrap();
            let cells = line.split(['│', '┆']).map(str::trim).filter(|cell| !cell.is_empty());
            cells.skip(1).collect::<Vec<_>>()
        };
        assert_eq!(row("calm, seed 0, 30 s"), ["before", "after", "change"]);
        assert_eq!(row("mean time"), ["2.240 s", "1.120 s", "-50.0 %"]);
        assert_eq!(row("failed calls"), ["12.50 %", "0.00 %", "-12.50 points"]);
        assert_eq!(row("good calls"), ["119.6", "119.6", "+0.0 %"]);
        assert_eq!(row("requests that"), ["21600", "5400", "-75.0 %"]);
    }

    #[test]
    fn nginx_has_a_column_and_a_key_if_it_took_part() {
        let report = report().compare(figures(0.44, 0.5, 16_000));
        let table = report.table();
        let row = |name: &str| table.lines().find(|line| line.contains(name)).unwrap();
        assert!(row("before").contains("nginx"), "{table}");
        assert!(row("mean time").contains("0.440 s"), "{table}");
        assert!(row("failed calls").contains("0.50 %"), "{table}");
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(json["compare"]["mean_s"], 0.44);
    }

    #[test]
    fn the_note_tells_the_capacity() {
        let note = report().note(&Parameters::default());
        assert!(note.contains("at most 120 calls a second"), "{note}");
        let three = Report { endpoints: 3, ..report() };
        let note = three.note(&Parameters::default());
        assert!(note.contains("at most 120 calls a second, all of them 360"), "{note}");
        assert!(three.title().contains("3 endpoints"));
    }

    #[test]
    fn a_change_from_nothing_is_not_a_percentage() {
        assert_eq!(Unit::Ratio.change(0.0, 0.0), "none");
        assert_eq!(Unit::Ratio.change(0.0, 1.0), "from none");
    }
}
