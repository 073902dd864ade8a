//! Redis, told to flush every write to the disk before it answers: `INCR`.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::server::{Server, data_directory};
use super::{Case, Subject};
use crate::closed_loop::Caller;
use crate::support::eventually;
use crate::usage::Usage;

pub(crate) const NAME: &str = "Redis";

pub(crate) struct Redis(Server);

impl Redis {
    pub(crate) async fn start() -> Self {
        let mut server = Server::start("redis-server", data_directory(), |port| {
            let flags = "--bind 127.0.0.1 --daemonize no --appendonly yes --appendfsync always";
            let port = port.to_string();
            flags.split(' ').chain(["--port", port.as_str(), "--save", ""]).map(str::to_owned).collect()
        });
        eventually("Redis answers", async || {
            server.check();
            TcpStream::connect(("127.0.0.1", server.port)).await.ok()
        })
        .await;
        Self(server)
    }
}

impl Subject for Redis {
    type Caller = RedisCaller;

    fn name(&self) -> &'static str {
        NAME
    }

    async fn caller(&self, case: Case, client: usize) -> RedisCaller {
        let stream = TcpStream::connect(("127.0.0.1", self.0.port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        RedisCaller { stream: BufReader::new(stream), answer: String::new(), case, client }
    }

    fn usage(&self) -> Usage {
        Usage::of(&[], &[self.0.pid()])
    }
}

pub(crate) struct RedisCaller {
    stream: BufReader<TcpStream>,
    answer: String,
    case: Case,
    client: usize,
}

impl Caller for RedisCaller {
    async fn call(&mut self, number: usize) {
        let key = format!("c{}", self.case.counter(self.client, number));
        let command = format!("*2\r\n$4\r\nINCR\r\n${}\r\n{key}\r\n", key.len());
        self.stream.get_mut().write_all(command.as_bytes()).await.unwrap();
        self.answer.clear();
        self.stream.read_line(&mut self.answer).await.unwrap();
        assert!(self.answer.starts_with(':'), "Redis: {}", self.answer);
    }
}
