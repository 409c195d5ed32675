//! The command line of `buttress rehearse`.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum, value_parser};

use super::{
    error::Error,
    nginx::{Nginx, Recipe},
    parameters::{BusySpells, Parameters},
};

/// The longest measured time that is accepted, in seconds.
const MOST_SECONDS: u32 = 3_600;

/// The longest warm-up that is accepted, in seconds.
const MOST_WARM_UP: u32 = 600;

/// The most endpoints that are accepted: 400 callers would not notice more.
const MOST_ENDPOINTS: u64 = 16;

/// The program that is compared with, where nothing else is said.
const NGINX: &str = "nginx";

/// Send the same traffic to a busy LLM API twice, through a naive client and through Buttress.
///
/// The API runs on loopback, in this process, with real sockets: 36 answers at a time, 0.3 s each,
/// a queue of 125, then `503`. Its name is resolved by a slow name server. 400 callers send chat
/// calls in a closed loop. It takes twice the warm-up and measured time together, and with
/// `--compare` three times.
#[derive(Args, Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Arguments {
    // Negative numbers are let in, so that the error names the flag and not a stray `-1`.
    /// Seconds to measure, for each run
    #[arg(long, value_name = "N", default_value_t = 30, allow_negative_numbers = true)]
    pub seconds: u32,

    /// Seconds before measuring begins, in which queues fill
    #[arg(long, value_name = "N", default_value_t = 15, allow_negative_numbers = true)]
    pub warm_up: u32,

    /// Seed of prompts, think times, service times and busy spells
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    pub seed: u64,

    /// Endpoints of the API, each with the whole capacity; the naive client knows the first
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    pub endpoints: u64,

    /// Let each endpoint lose 85 % of its capacity now and then, for 4 s on average
    #[arg(long)]
    pub busy: bool,

    /// Share of prompts drawn from 100 common ones, from 0 to 1; the rest are unique. If there are any,
    /// Buttress keeps answers for an hour and gives them again
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, allow_negative_numbers = true)]
    pub repeat: f64,

    /// Send the same traffic once more, through another proxy in front of the endpoints
    #[arg(long, value_enum, value_name = "NAME")]
    pub compare: Option<Compare>,

    /// Failures within 2 s after which nginx leaves an endpoint out for 2 s; 0 for never
    #[arg(
        long,
        value_name = "N",
        default_value_t = 3,
        allow_negative_numbers = true,
        value_parser = value_parser!(u32).range(..=1_000_000),
        requires = "compare"
    )]
    pub nginx_max_fails: u32,

    /// The nginx to start
    #[arg(long, value_name = "PROGRAM", default_value = NGINX, env = "BUTTRESS_NGINX")]
    pub nginx: PathBuf,

    /// Print one JSON object instead of the table
    #[arg(long)]
    pub json: bool,

    /// Write a plot of latency over time, all runs, as SVG
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
}

/// What Buttress is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum Compare {
    /// The recipe of many deployments: `least_conn`, and `proxy_next_upstream` on 503
    Nginx,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            seconds: 30,
            warm_up: 15,
            seed: 1,
            endpoints: 1,
            busy: false,
            repeat: 0.0,
            compare: None,
            nginx_max_fails: Recipe::default().max_fails,
            nginx: NGINX.into(),
            json: false,
            plot: None,
        }
    }
}

impl Arguments {
    /// Checks every setting, that the plot can be written, and that what is compared with can be
    /// started, before anything runs.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`], which names the flag.
    pub fn parameters(&self) -> Result<Parameters, Error> {
        if self.seconds == 0 || self.seconds > MOST_SECONDS {
            let reason = format!("{} is not between 1 and {MOST_SECONDS}", self.seconds);
            return Err(Error::setting("--seconds", reason));
        }
        if self.warm_up > MOST_WARM_UP {
            let reason = format!("{} is not between 0 and {MOST_WARM_UP}", self.warm_up);
            return Err(Error::setting("--warm-up", reason));
        }
        if self.endpoints == 0 || self.endpoints > MOST_ENDPOINTS {
            let reason = format!("{} is not between 1 and {MOST_ENDPOINTS}", self.endpoints);
            return Err(Error::setting("--endpoints", reason));
        }
        if !(0.0..=1.0).contains(&self.repeat) {
            let reason = format!("{} is not a share between 0 and 1", self.repeat);
            return Err(Error::setting("--repeat", reason));
        }
        if let Some(path) = &self.plot {
            check_writable(path)?;
        }
        if self.compare == Some(Compare::Nginx) {
            Nginx::check(&self.nginx)?;
        }
        let mut parameters = Parameters { seed: self.seed, ..Parameters::default() };
        parameters.server.busy = self.busy.then(BusySpells::default);
        parameters.traffic.repeat = self.repeat;
        parameters.schedule.warm_up = Duration::from_secs(self.warm_up.into());
        parameters.schedule.measured = Duration::from_secs(self.seconds.into());
        Ok(parameters)
    }

    /// What nginx is told, if it takes part.
    pub(super) fn recipe(&self) -> Option<Recipe> {
        let Some(Compare::Nginx) = self.compare else { return None };
        Some(Recipe { max_fails: self.nginx_max_fails, ..Recipe::default() })
    }
}

/// Opens the file as the plot will be, and leaves things as they were.
fn check_writable(path: &Path) -> Result<(), Error> {
    let shown = path.display();
    if path.extension().is_some_and(|extension| !extension.eq_ignore_ascii_case("svg")) {
        let reason = format!("{shown} does not end in .svg, and SVG is what is written");
        return Err(Error::setting("--plot", reason));
    }
    let existed = path.exists();
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map_err(|error| Error::setting("--plot", format!("{shown} cannot be written: {error}")))?;
    if !existed {
        // If it stays behind, it is empty and will be overwritten.
        let _ = fs::remove_file(path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flag_refused(change: impl FnOnce(&mut Arguments)) -> &'static str {
        let mut arguments = Arguments::default();
        change(&mut arguments);
        match arguments.parameters() {
            Err(Error::Setting { flag, reason }) => {
                assert!(!reason.is_empty() && !reason.contains('\n'), "{reason}");
                flag
            }
            other => panic!("accepted: {other:?}"),
        }
    }

    #[test]
    fn a_wrong_setting_is_refused_by_its_flag() {
        assert_eq!(flag_refused(|given| given.seconds = 0), "--seconds");
        assert_eq!(flag_refused(|given| given.seconds = 3_601), "--seconds");
        assert_eq!(flag_refused(|given| given.warm_up = 601), "--warm-up");
        assert_eq!(flag_refused(|given| given.endpoints = 0), "--endpoints");
        assert_eq!(flag_refused(|given| given.endpoints = 17), "--endpoints");
        assert_eq!(flag_refused(|given| given.repeat = 1.01), "--repeat");
        assert_eq!(flag_refused(|given| given.repeat = -0.01), "--repeat");
        assert_eq!(flag_refused(|given| given.repeat = f64::NAN), "--repeat");
        assert_eq!(flag_refused(|given| given.repeat = f64::INFINITY), "--repeat");
        assert_eq!(flag_refused(|given| given.plot = Some("no/such/place.svg".into())), "--plot");
        assert_eq!(flag_refused(|given| given.plot = Some("plot.png".into())), "--plot");
        assert_eq!(flag_refused(|given| given.plot = Some(".".into())), "--plot");
        assert_eq!(flag_refused(|given| given.plot = Some("".into())), "--plot");
    }

    #[test]
    fn a_program_that_is_missing_is_found_out_before_anything_runs() {
        let missing = |given: &mut Arguments| {
            given.compare = Some(Compare::Nginx);
            given.nginx = "/no/such/nginx".into();
        };
        assert_eq!(flag_refused(missing), "--compare");
        let unused = Arguments { nginx: "/no/such/nginx".into(), ..Arguments::default() };
        assert!(unused.parameters().is_ok() && unused.recipe().is_none());
    }

    #[test]
    fn the_defaults_are_the_parameters_that_figures_are_compared_under() {
        let parameters = Arguments::default().parameters().unwrap();
        assert_eq!(parameters, Parameters { seed: 1, ..Parameters::default() });
    }

    #[test]
    fn settings_reach_the_parameters() {
        let mut arguments = Arguments { busy: true, repeat: 0.2, seed: 7, ..Arguments::default() };
        (arguments.seconds, arguments.warm_up) = (5, 0);
        let parameters = arguments.parameters().unwrap();
        assert_eq!(parameters.seed, 7);
        assert_eq!(parameters.server.busy, Some(BusySpells::default()));
        assert!((parameters.traffic.repeat - 0.2).abs() < 1e-12);
        assert_eq!(parameters.schedule.warm_up, Duration::ZERO);
        assert_eq!(parameters.schedule.measured, Duration::from_secs(5));
    }

    #[test]
    fn looking_whether_the_plot_can_be_written_leaves_no_file_behind() {
        let path = std::env::temp_dir().join(format!("rehearse-{}.svg", std::process::id()));
        check_writable(&path).unwrap();
        assert!(!path.exists());
        fs::write(&path, "kept").unwrap();
        check_writable(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
        fs::remove_file(&path).unwrap();
    }
}
