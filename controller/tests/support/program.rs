//! The program itself, as a process of its own.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};
use tonic::transport::Channel;

pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_andromede-controller"));
    command.args(arguments).kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts the program and waits for its line.
pub async fn start(store: &Path) -> (Child, String, Channel) {
    let mut command =
        command(&["serve", "--insecure-plaintext", "--listen", "127.0.0.1:0", "--log", "warn", "--store"]);
    let mut child = command.arg(store).stderr(Stdio::inherit()).spawn().unwrap();
    let (line, channel) = connect(&mut child).await;
    (child, line, channel)
}

/// The address in the program's line.
pub async fn address(child: &mut Child) -> (String, String) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(Duration::from_secs(20), lines.next_line()).await.unwrap().unwrap().expect("a line");
    let address = line.split("listening on ").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address");
    (address.to_owned(), line)
}

/// Waits for the program's line, and connects to the address in it.
pub async fn connect(child: &mut Child) -> (String, Channel) {
    let (address, line) = address(child).await;
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    (line, channel)
}
