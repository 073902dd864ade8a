//! The README's tour, run as it is written: every command, and what it says that the command prints.
//!
//! Tours are fenced blocks of the kind `console`: a line that begins with `$ ` is a command (a backslash at its end
//! continues it), the lines below are what it prints, and `…` stands for anything there. A block after the comment
//! `<!-- not run: reason -->` is left out.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::PATIENCE;
use crate::support::service::Service;
use crate::support::stores::{Directory, Kind};

/// Commands that build or start something, which a tour of a running service does not.
const NO_TOUR: [&str; 5] = ["cargo", "make", "docker", "kubectl", "minikube"];

/// A command of a tour.
#[derive(Debug, PartialEq)]
struct Step {
    command: String,
    prints: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_works_as_written() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let steps = steps(&std::fs::read_to_string(readme).expect("there is a README.md"));
    let calls = steps.iter().filter(|step| step.command.contains("curl")).count();
    assert!(calls > 0, "README.md has no ```console block with a curl command that is run");
    for Step { command, .. } in &steps {
        let program = command.split(' ').next().unwrap_or_default();
        assert!(!NO_TOUR.contains(&program), "`{command}` is no tour: put `<!-- not run: reason -->` above its block");
    }

    let service = Service::fresh(Kind::Redb, &[]).await;
    let (api, admin) = (service.address().to_string(), service.admin_address().to_string());
    let here = |text: &str| text.replace("127.0.0.1:8080", &api).replace("127.0.0.1:9464", &admin);
    let commands: Vec<String> = steps.iter().map(|step| here(&step.command)).collect();
    let printed = run(&commands).await;
    for (number, step) in steps.iter().enumerate() {
        let found = printed.get(number).map_or("nothing: an earlier command has ended the session", String::as_str);
        let (wanted, command) = (here(&step.prints), &step.command);
        assert!(fits(&wanted, found), "$ {command}\nREADME.md says:\n{wanted}\nand it printed:\n{found}");
    }
}

/// Runs the commands in one session of bash and answers what each printed.
async fn run(commands: &[String]) -> Vec<String> {
    const END: &str = "---- end of a step ----";
    let mut script = String::from("exec 2>&1\n");
    for command in commands {
        // Standard input is the script itself: no command may read it.
        let _ = writeln!(script, "{{ {command}\n}} </dev/null\nprintf '\\n%s\\n' '{END}'");
    }
    let directory = Directory::new();
    let mut bash = Command::new("bash")
        .current_dir(directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("bash runs the README's commands");
    let mut input = bash.stdin.take().unwrap();
    let feed = async move { input.write_all(script.as_bytes()).await };
    let both = async { tokio::join!(feed, bash.wait_with_output()) };
    let (fed, output) = timeout(PATIENCE, both).await.expect("the README's tour ends");
    fed.expect("bash takes the commands");
    let Output { stdout, .. } = output.unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned();
    let mut printed: Vec<String> = text.split(&format!("{END}\n")).map(|part| part.trim().to_owned()).collect();
    // What follows the last command's end is nothing.
    printed.pop();
    printed
}

/// The commands of a README that are to be run.
fn steps(readme: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut inside, mut run_next, mut continued) = (false, true, false);
    for line in readme.lines() {
        match (inside, line) {
            (false, "```console") => inside = run_next,
            (true, "```") => (inside, continued) = (false, false),
            (false, line) if line.starts_with("<!-- not run:") => run_next = false,
            // The comment holds for the block right after it, blank lines aside.
            (false, line) if !line.trim().is_empty() => run_next = true,
            (false, _) => {}
            (true, line) => take_line(line, &mut continued, &mut steps),
        }
    }
    steps
}

fn take_line(line: &str, continued: &mut bool, steps: &mut Vec<Step>) {
    if let Some(command) = line.strip_prefix("$ ").filter(|_| !*continued) {
        steps.push(Step { command: command.to_owned(), prints: String::new() });
        *continued = command.ends_with('\\');
        return;
    }
    let step = steps.last_mut().expect("a console block begins with a command");
    if *continued {
        let _ = write!(step.command, "\n{line}");
        *continued = line.ends_with('\\');
    } else {
        let _ = writeln!(step.prints, "{line}");
    }
}

/// Is this what was announced? `…` stands for anything; white space at the ends of lines counts for nothing.
fn fits(wanted: &str, found: &str) -> bool {
    let tidy = |text: &str| text.trim().lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    let (wanted, found) = (tidy(wanted), tidy(found));
    let pieces: Vec<&str> = wanted.split('…').collect();
    let (first, last) = (pieces[0], pieces[pieces.len() - 1]);
    if pieces.len() == 1 {
        return wanted == found;
    }
    let Some(mut rest) = found.strip_prefix(first) else { return false };
    for piece in &pieces[1..pieces.len() - 1] {
        let Some((_, after)) = rest.split_once(piece) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[test]
fn a_tour_is_read_as_it_is_meant() {
    let readme = "text\n```console\n$ one \\\n    --more\nprinted\n$ two\n```\n<!-- not run: it takes an hour -->\n\n\
                  ```console\n$ left out\n```\n\n```sh\n$ no tour\n```\n```console\n$ three\n```\n";
    let step = |command: &str, prints: &str| Step { command: command.to_owned(), prints: prints.to_owned() };
    assert_eq!(steps(readme), [step("one \\\n    --more", "printed\n"), step("two", ""), step("three", "")]);
    assert!(fits("{\"token\":\"…\",\"n\":1}", "{\"token\":\"abc\",\"n\":1}\n"));
    assert!(fits("HTTP/1.1 200 OK\n…\n\n{…}", "HTTP/1.1 200 OK  \nx: y\nz: w\n\n{\"a\":1}"));
    assert!(!fits("{\"n\":1}", "{\"n\":2}"));
    assert!(!fits("a…b", "a"));
}
