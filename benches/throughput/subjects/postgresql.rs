//! PostgreSQL as it comes: a prepared `UPDATE … RETURNING` that commits by itself.
//!
//! The few messages of its protocol that this takes are written here, as they are for Redis: a client crate would change
//! features of crates that the service shares, and would take more of the cores that the servers need.

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::server::{Server, data_directory, program};
use super::{COUNTERS, Case, Subject};
use crate::closed_loop::Caller;
use crate::support::eventually;
use crate::usage::{Usage, family};

pub(crate) const NAME: &str = "PostgreSQL";

/// Its superuser, who needs no password.
const USER: &str = "bench";
const TAKE: &str = "UPDATE counters SET value = value + 1 WHERE id = $1 RETURNING value";

pub(crate) struct Postgresql(Server);

impl Postgresql {
    pub(crate) async fn start() -> Self {
        let directory = data_directory();
        let data = directory.path().join("data").display().to_string();
        let initdb = ["-D", &data, "-U", USER, "--auth=trust", "--locale=C", "--encoding=UTF8"];
        let made = program("initdb", &directory).args(initdb).output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let mut server = Server::start("postgres", directory, |port| {
            // 256 clients are more than the default allows. All else is as it comes: fsync and synchronous_commit are on.
            let options = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=300"];
            let arguments = ["-D".to_owned(), data, "-p".to_owned(), port.to_string()].into_iter();
            arguments.chain(options.into_iter().flat_map(|option| ["-c".to_owned(), option.to_owned()])).collect()
        });
        let mut connection = eventually("PostgreSQL answers", async || {
            server.check();
            Connection::open(server.port).await.ok()
        })
        .await;
        connection.query("CREATE TABLE counters (id bigint PRIMARY KEY, value bigint NOT NULL)").await;
        connection
            .query(&format!("INSERT INTO counters SELECT id, 0 FROM generate_series(0, {COUNTERS} - 1) id"))
            .await;
        connection.query("VACUUM ANALYZE counters").await;
        Self(server)
    }
}

impl Subject for Postgresql {
    type Caller = PostgresqlCaller;

    fn name(&self) -> &'static str {
        NAME
    }

    async fn caller(&self, case: Case, client: usize) -> PostgresqlCaller {
        let mut connection = Connection::open(self.0.port).await.unwrap();
        connection.prepare().await;
        PostgresqlCaller { connection, case, client }
    }

    fn usage(&self) -> Usage {
        Usage::of(&[], &family(self.0.pid()))
    }
}

pub(crate) struct PostgresqlCaller {
    connection: Connection,
    case: Case,
    client: usize,
}

impl Caller for PostgresqlCaller {
    async fn call(&mut self, number: usize) {
        let counter = i64::try_from(self.case.counter(self.client, number)).unwrap();
        self.connection.take(counter).await;
    }
}

/// A connection that speaks version 3.0 of the protocol.
struct Connection(BufReader<TcpStream>);

impl Connection {
    async fn open(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let mut connection = Self(BufReader::new(stream));
        let parameters = format!("user\0{USER}\0database\0postgres\0\0");
        let startup = [&196_608_i32.to_be_bytes()[..], parameters.as_bytes()].concat();
        connection.0.get_mut().write_all(&with_length(&startup)).await?;
        connection.until_ready().await?;
        Ok(connection)
    }

    async fn query(&mut self, sql: &str) {
        self.ask(&message(b'Q', &[sql.as_bytes(), b"\0"])).await;
    }

    /// Prepares [`TAKE`] under the empty name.
    async fn prepare(&mut self) {
        let parse = message(b'P', &[b"\0", TAKE.as_bytes(), b"\0", &0_i16.to_be_bytes()]);
        self.ask(&[parse, message(b'S', &[])].concat()).await;
    }

    /// Binds, executes and commits what was prepared; parameter and answer are binary.
    async fn take(&mut self, counter: i64) {
        let one = 1_i16.to_be_bytes();
        let parameter = [&8_i32.to_be_bytes()[..], &counter.to_be_bytes()].concat();
        let bind = message(b'B', &[b"\0\0", &one, &one, &one, &parameter, &one, &one]);
        let execute = message(b'E', &[b"\0", &0_i32.to_be_bytes()]);
        let rows = self.ask(&[bind, execute, message(b'S', &[])].concat()).await;
        assert_eq!(rows, 1, "PostgreSQL: one row is changed");
    }

    async fn ask(&mut self, messages: &[u8]) -> usize {
        self.0.get_mut().write_all(messages).await.unwrap();
        self.until_ready().await.unwrap()
    }

    /// Reads until the server is ready for more, and answers how many rows came.
    async fn until_ready(&mut self) -> std::io::Result<usize> {
        let mut rows = 0;
        loop {
            let kind = self.0.read_u8().await?;
            let length = usize::try_from(self.0.read_u32().await?).unwrap() - 4;
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).await?;
            match kind {
                b'Z' => return Ok(rows),
                b'D' => rows += 1,
                b'E' => return Err(std::io::Error::other(String::from_utf8_lossy(&body).replace('\0', " "))),
                _ => {}
            }
        }
    }
}

fn message(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    [&[kind][..], &with_length(&parts.concat())].concat()
}

/// Prefixed by its length, which counts itself.
fn with_length(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len() + 4).unwrap().to_be_bytes()[..], body].concat()
}
