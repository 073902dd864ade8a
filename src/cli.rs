//! The command line: `serve` (the default), `check-config`, `healthcheck`, `reference`.
//!
//! Exit codes: 0 for success, 64 for wrong settings or arguments (`EX_USAGE` of sysexits), 1 for everything else.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use clap::{Arg, ArgMatches, Command};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::build_info::BUILD;
use crate::config::{self, Config, SETTINGS, Sources};
use crate::error::Code;
use crate::{metrics, router, service, telemetry};

/// Wrong settings or arguments.
const EX_USAGE: u8 = 64;

/// How long the last spans may take to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// How long `healthcheck` waits for an answer.
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(4);

/// Runs the program with these arguments.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => {
            // Help and the version are asked for, and no fault.
            let code = if error.use_stderr() { EX_USAGE } else { 0 };
            let _ = error.print();
            return code.into();
        }
    };
    if let Some(("reference", matches)) = matches.subcommand() {
        let what = matches.get_one::<String>("what").map_or("settings", String::as_str);
        return print(&reference(what));
    }
    let config = match Config::read(&Sources::from_process(flags(&matches))) {
        Ok(config) => config,
        Err(faults) => {
            let _ = write!(std::io::stderr(), "{faults}");
            return EX_USAGE.into();
        }
    };
    match matches.subcommand_name() {
        Some("check-config") => {
            let warnings: String = config.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
            print(&(config.describe() + &warnings))
        }
        Some("healthcheck") => in_runtime(healthcheck(config.http.listen)),
        _ => in_runtime(serve(config)),
    }
}

fn command() -> Command {
    let flag = |name: String, env: String, help: String| {
        Arg::new(env.clone()).long(name).value_name("VALUE").global(true).help(format!("{help} [{env}]"))
    };
    let mut command = Command::new(BUILD.name)
        .version(BUILD.version)
        .about("Incrementing integers as a service")
        .after_help("Each flag is also an environment variable; the flag wins. Secrets are never flags.")
        .subcommand(Command::new("serve").about("Serve the API (the default)"))
        .subcommand(Command::new("check-config").about("Say which settings would be used, secrets masked"))
        .subcommand(Command::new("healthcheck").about("Ask a running service's /health; exit code 0 if it passes"))
        .subcommand(
            Command::new("reference").about("Print a reference as Markdown (openapi: JSON)").arg(
                Arg::new("what")
                    .required(true)
                    .value_parser(["settings", "metrics", "errors", "openapi"])
                    .help("Which one"),
            ),
        );
    for setting in SETTINGS {
        let default = if setting.default.is_empty() { "none" } else { setting.default };
        let (name, env, help) = if setting.secret {
            let help = format!("A file with the secret {} (default: {default})", setting.name);
            (setting.flag() + "-file", setting.file_name(), help)
        } else {
            (setting.flag(), setting.name.to_owned(), format!("{} (default: {default})", setting.help))
        };
        command = command.arg(flag(name, env, help));
    }
    command
}

/// The flags that were given, by the names of their variables.
fn flags(matches: &ArgMatches) -> std::collections::HashMap<String, String> {
    // Global flags are there whether they stand before or behind the command.
    let names =
        SETTINGS.iter().map(|setting| if setting.secret { setting.file_name() } else { setting.name.to_owned() });
    names.filter_map(|name| Some((name.clone(), matches.get_one::<String>(&name)?.clone()))).collect()
}

fn print(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // A reader that closed the pipe early has read what it wanted.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let _ = writeln!(std::io::stderr(), "it cannot be printed: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// What `reference` prints of these: `settings`, `metrics`, `errors` or `openapi`.
pub fn reference(what: &str) -> String {
    match what {
        "metrics" => metrics::reference(),
        "errors" => errors(),
        "openapi" => router::description().to_pretty_json().unwrap_or_default() + "\n",
        _ => config::reference(),
    }
}

/// `docs/errors.md`.
fn errors() -> String {
    let mut text = String::from(
        "# Errors\n\n\
         <!-- Printed by `counter-api reference errors`; change src/error/catalogue.rs, then `make reference`. -->\n\n\
         Every error is a problem (RFC 9457, `application/problem+json`) with `type`, `title`, `status`, `detail`, `code` and\n\
         `trace_id`; `errors` names fields. Switch on `code`. The `type` is `https://counter-api.dev/problems/<code>`.\n\n\
         | status | code | title | when, and what to do |\n|---|---|---|---|\n",
    );
    for code in Code::ALL {
        let (status, name) = (code.status().as_u16(), code.as_str());
        let _ = writeln!(text, "| {status} | `{name}` | {} | {} |", code.title(), code.meaning());
    }
    text
}

fn in_runtime(work: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "the runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(work);
    // What still runs now has had its time: a blocking thread must not hold up the exit.
    runtime.shutdown_background();
    code
}

async fn serve(config: Config) -> ExitCode {
    let telemetry = match telemetry::init(&config.telemetry, config.store.target.system()) {
        Ok(telemetry) => telemetry,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            return ExitCode::FAILURE;
        }
    };
    let result = service::run(config, &telemetry).await;
    if let Err(error) = &result {
        tracing::error!("{error}");
    }
    telemetry.shutdown(FLUSH_TIMEOUT).await;
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn healthcheck(listen: SocketAddr) -> ExitCode {
    // A listener on every address is reached on the loopback one.
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let address = SocketAddr::new(ip, listen.port());
    let verdict = tokio::time::timeout(HEALTHCHECK_TIMEOUT, ask(address)).await;
    let complaint = match verdict {
        Ok(Ok(StatusCode::OK)) => return ExitCode::SUCCESS,
        Ok(Ok(status)) => format!("http://{address}/health answered {status}"),
        Ok(Err(error)) => format!("http://{address}/health cannot be asked: {error}"),
        Err(_) => format!("http://{address}/health did not answer in time"),
    };
    let _ = writeln!(std::io::stderr(), "{complaint}");
    ExitCode::FAILURE
}

async fn ask(address: SocketAddr) -> Result<StatusCode, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get("/health").header(header::HOST, address.to_string()).body(Body::empty())?;
    Ok(sender.send_request(request).await?.status())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
