use super::*;
use std::future::pending;

const LONG: Duration = Duration::from_mins(1);

fn sh(script: &str) -> CommandSpec {
    CommandSpec::new("sh", ["-c", script])
}

async fn run(spec: CommandSpec, deadline: Duration, grace: Duration) -> (Ended, Vec<Line>) {
    let mut lines = Vec::new();
    let child = Child::spawn(spec, Some(deadline), grace).unwrap();
    let ended = child.run(pending(), |line| lines.push(line)).await.unwrap();
    (ended, lines)
}

/// Cancels the child as soon as it has printed a line; gives its standard output.
async fn cancel_when_ready(script: &str, grace: Duration) -> (Ended, Vec<String>) {
    let (heard, hear) = tokio::sync::oneshot::channel();
    let mut heard = Some(heard);
    let mut lines = Vec::new();
    let child = Child::spawn(sh(script), Some(LONG), grace).unwrap();
    let cancel = async { hear.await.unwrap() };
    let ended = child.run(cancel, |line| {
        // What the shell says about signals on standard error is its own affair.
        if let Line::Stdout(text) = line {
            lines.push(text);
            if let Some(heard) = heard.take() {
                heard.send(()).unwrap();
            }
        }
    });
    let ended = ended.await.unwrap();
    assert!(ended.cancelled && !ended.timed_out, "{ended:?}");
    (ended, lines)
}

fn out(text: &str) -> Line {
    Line::Stdout(text.to_owned())
}

/// The process is gone, or dead and only waits for a parent that does not ask.
fn is_dead(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.contains("State:") || status.contains("State:\tZ")
}

async fn wait_until_dead(pid: &str) {
    let dead = async {
        while !is_dead(pid) {
            sleep(POLL).await;
        }
    };
    timeout(LONG, dead).await.unwrap_or_else(|_| panic!("process {pid} is still alive"));
}

#[tokio::test]
async fn lines_and_exit_code_come_through() {
    let (ended, lines) = run(sh("echo one; echo two; printf 'a\\r\\nlast'; echo oops >&2; exit 7"), LONG, LONG).await;
    assert_eq!((ended.code, ended.signal, ended.timed_out, ended.cancelled), (Some(7), None, false, false));
    let (stdout, stderr): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| matches!(line, Line::Stdout(_)));
    assert_eq!(stdout, [out("one"), out("two"), out("a"), out("last")]);
    assert_eq!(stderr, [Line::Stderr("oops".to_owned())]);
}

#[tokio::test]
async fn a_line_is_there_before_the_child_ends() {
    let (ended, lines) = cancel_when_ready("echo ready; exec sleep 1000", LONG).await;
    assert_eq!((ended.code, ended.signal), (None, Some(15)));
    assert_eq!(lines, ["ready"]);
}

#[tokio::test]
async fn at_the_deadline_the_grandchild_ends_as_well() {
    let (ended, lines) = run(sh("sleep 1000 & echo $!; wait"), Duration::from_secs(1), Duration::from_secs(2)).await;
    assert!(ended.timed_out && !ended.cancelled && ended.duration < LONG, "{ended:?}");
    let Some(Line::Stdout(pid)) = lines.first() else { panic!("{lines:?}") };
    wait_until_dead(pid).await;
}

#[tokio::test]
async fn a_grandchild_that_ignores_the_request_is_killed_after_its_parent() {
    let script = "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & wait";
    let (ended, lines) = cancel_when_ready(script, Duration::from_millis(300)).await;
    assert_eq!(ended.signal, Some(15));
    wait_until_dead(&lines[0]).await;
}

#[tokio::test]
async fn a_child_that_ignores_the_request_is_killed() {
    let script = "trap '' TERM; echo ready; while :; do sleep 1; done";
    let (ended, _) = cancel_when_ready(script, Duration::from_millis(200)).await;
    assert_eq!((ended.code, ended.signal), (None, Some(9)));
    let (ended, _) = run(sh("trap '' TERM; sleep 1000"), Duration::from_secs(1), Duration::from_millis(200)).await;
    assert_eq!((ended.code, ended.signal, ended.timed_out), (None, Some(9), true));
}

#[tokio::test]
async fn a_child_may_use_the_grace_to_clean_up() {
    let script = "trap 'echo cleaned; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let (ended, lines) = cancel_when_ready(script, LONG).await;
    assert_eq!(ended.code, Some(3));
    assert_eq!(lines, ["ready", "cleaned"]);
}

#[tokio::test]
async fn a_background_process_that_holds_the_output_open_is_not_waited_for() {
    let (ended, lines) = run(sh("sleep 1000 & echo $!"), LONG, Duration::from_millis(100)).await;
    assert_eq!((ended.code, ended.timed_out), (Some(0), false));
    let [Line::Stdout(pid)] = &lines[..] else { panic!("{lines:?}") };
    assert!(!is_dead(pid));
    rustix::process::kill_process(Pid::from_raw(pid.parse().unwrap()).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_dropped_child_takes_its_group_along() {
    let child = Child::spawn(sh("sleep 1000 & wait"), None, LONG).unwrap();
    let pid = child.id().to_string();
    drop(child);
    wait_until_dead(&pid).await;
}

#[tokio::test]
async fn input_arrives_whole_and_ends() {
    let bytes = b"x\n".repeat(200_000);
    let mut spec = CommandSpec::new("wc", ["-c"]);
    spec.stdin = Stdin::Bytes(Zeroizing::new(bytes));
    let (_, lines) = run(spec, LONG, LONG).await;
    assert_eq!(lines, [out("400000")]);
    let mut spec = CommandSpec::new("true", [""; 0]);
    spec.stdin = Stdin::Bytes(Zeroizing::new(b"x".repeat(1 << 20)));
    assert_eq!(run(spec, LONG, LONG).await.0.code, Some(0));
    assert_eq!(run(CommandSpec::new("cat", [""; 0]), LONG, LONG).await.1, []);
}

#[tokio::test]
async fn the_caller_can_write_the_input() {
    let mut spec = CommandSpec::new("cat", [""; 0]);
    spec.stdin = Stdin::Piped;
    let mut child = Child::spawn(spec, Some(LONG), LONG).unwrap();
    let mut stdin = child.take_stdin().unwrap();
    let write = async move { stdin.write_all(b"hello\n").await.unwrap() };
    let mut lines = Vec::new();
    let ((), ended) = tokio::join!(write, child.run(pending(), |line| lines.push(line)));
    assert_eq!((ended.unwrap().code, lines), (Some(0), vec![out("hello")]));
}

#[tokio::test]
async fn the_environment_is_inherited_and_added_to() {
    let mut spec = sh("echo \"$MAINT_TEST_ADDED ${PATH:+path}\"");
    spec.env.push(("MAINT_TEST_ADDED".into(), "added".into()));
    assert_eq!(run(spec, LONG, LONG).await.1, [out("added path")]);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_its_own_error() {
    let error = Child::spawn(CommandSpec::new("no-such-program", ["x"]), None, LONG).err().unwrap();
    assert!(matches!(&error, ChildError::NotFound { program } if program == "no-such-program"), "{error}");
    let error = Child::spawn(CommandSpec::new("/etc/passwd", ["x"]), None, LONG).err().unwrap();
    assert!(matches!(error, ChildError::Start { .. }), "{error}");
}

#[tokio::test]
async fn a_line_without_end_does_not_fill_the_memory() {
    let (ended, lines) = run(sh("head -c 3000000 /dev/zero; printf '\\377\\n'"), LONG, LONG).await;
    assert_eq!(ended.code, Some(0));
    assert!(lines.len() >= 2);
    let total: usize =
        lines.iter().map(|line| if let Line::Stdout(text) = line { text.chars().count() } else { 0 }).sum();
    assert_eq!(total, 3_000_001);
}

#[tokio::test]
async fn it_works_where_it_is_told_and_does_not_see_what_is_taken_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = sh("pwd -P; echo ${PATH:-nothing} $THERE");
    spec.program = "/bin/sh".into();
    spec.directory = Some(dir.path().to_owned());
    spec.without = vec!["PATH".into(), "THERE".into()];
    // What is set on top stays, also under a name that is taken out.
    spec.env = vec![("THERE".into(), "there".into())];
    let (_, lines) = run(spec, LONG, LONG).await;
    let pwd = dir.path().canonicalize().unwrap();
    assert_eq!(lines.first(), Some(&out(&pwd.display().to_string())));
    let second = lines.get(1).cloned().unwrap();
    assert!(matches!(&second, Line::Stdout(text) if text.ends_with(" there")), "{second:?}");
}
