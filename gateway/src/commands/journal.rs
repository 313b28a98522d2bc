//! Every command, on disk before anything comes of it.
//!
//! One SQLite file in the state directory, `commands.db`, in write-ahead mode with a sync for each commit:
//!
//! ```text
//! command(device, id, is_open, parent, ended_ms, body, crc)      one row each, by device and id
//! ```
//! `body` is JSON ([`Stored`]), `crc` its CRC-32: a row that is damaged is left out, and told. `is_open` is 1
//! as long as the command is not over, or a state of it is not published. A file that SQLite cannot read is set
//! aside: then outcomes are forgotten, and a request that comes again is carried out again.
//!
//! What has ended is kept for `commands.keep`, and at most [`MAX_ENDED`] of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proto::{Timestamp, Value, base64};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use super::command::{Command, CommandState, Failure, Key, Priority, ReplyTo, Step};
use crate::config::Id;

/// The file's name in the state directory.
const FILE: &str = "commands.db";
/// The version of the format.
const VERSION: i64 = 1;
/// Most commands that have ended.
const MAX_ENDED: u32 = 100_000;

/// The file.
#[derive(Debug)]
pub(crate) struct Journal {
    connection: Connection,
    path: PathBuf,
}

/// Why the journal did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error("the journal of commands {path} failed")]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    #[error("cannot set the damaged journal of commands {path} aside")]
    SetAside { path: PathBuf, source: io::Error },
    #[error(
        "{path} has another version ({found}, expected {VERSION}): it is of a newer gateway; use that, or move \
         the file away"
    )]
    Version { path: PathBuf, found: i64 },
}

/// A command as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    operation: Id,
    value: Option<StoredValue>,
    broker: Option<Id>,
    reply_to: Option<(String, Option<String>)>,
    priority: Priority,
    deadline_ns: i64,
    attempts: u32,
    is_begun: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<String>,
    group: Option<String>,
    members: Vec<String>,
    steps: Vec<StoredStep>,
    published: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredValue {
    Number(String),
    Boolean(bool),
    Text(String),
    Bytes(String),
}

#[derive(Serialize, Deserialize)]
struct StoredStep {
    state: CommandState,
    time_ns: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

impl Journal {
    /// Opens or makes the file.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, JournalError> {
        let path = state_dir.join(FILE);
        match Self::try_open(&path) {
            Err(JournalError::Sqlite { source, .. }) if is_damage(&source) => {
                let aside = state_dir.join(format!("{FILE}.damaged"));
                error!(
                    path = %path.display(), aside = %aside.display(), error = %source,
                    "the journal of commands is damaged and set aside: outcomes are forgotten"
                );
                for end in ["-wal", "-shm"] {
                    // They belong to the damaged file, and may not be there.
                    let _ = fs::remove_file(state_dir.join(format!("{FILE}{end}")));
                }
                fs::rename(&path, &aside)
                    .map_err(|source| JournalError::SetAside { path: path.clone(), source })?;
                Self::try_open(&path)
            }
            opened => opened,
        }
    }

    fn try_open(path: &Path) -> Result<Self, JournalError> {
        let failed = |source| JournalError::Sqlite { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(failed)?;
        let prepare = || {
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "journal_size_limit", 1 << 20)?;
            connection.pragma_update(None, "cache_size", -512)?;
            connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))
        };
        let found = prepare().map_err(failed)?;
        if found > VERSION {
            return Err(JournalError::Version { path: path.to_owned(), found });
        }
        let schema = "CREATE TABLE IF NOT EXISTS command(
                device TEXT NOT NULL, id TEXT NOT NULL, is_open INTEGER NOT NULL, parent TEXT,
                ended_ms INTEGER, body TEXT NOT NULL, crc INTEGER NOT NULL,
                PRIMARY KEY(device, id)) WITHOUT ROWID;
            CREATE INDEX IF NOT EXISTS open_command ON command(is_open) WHERE is_open = 1;
            CREATE INDEX IF NOT EXISTS member ON command(parent, id) WHERE parent IS NOT NULL;
            CREATE INDEX IF NOT EXISTS ended ON command(ended_ms) WHERE ended_ms IS NOT NULL;
            PRAGMA user_version = 1;";
        connection.execute_batch(schema).map_err(failed)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Puts commands on disk: they are there when this returns.
    pub(crate) fn commit(&mut self, commands: &[Command]) -> Result<(), JournalError> {
        let write = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            {
                let mut put = transaction.prepare_cached(
                    "INSERT OR REPLACE INTO command(device, id, is_open, parent, ended_ms, body, crc)
                     VALUES(?, ?, ?, ?, ?, ?, ?)",
                )?;
                for command in commands {
                    let body = serde_json::to_string(&Stored::of(command)).unwrap_or_default();
                    let is_open =
                        !command.state().is_final() || command.published < command.steps.len();
                    let crc = crc32fast::hash(body.as_bytes());
                    let ended = command.ended().map(Timestamp::as_millis);
                    let Key { device, id } = &command.key;
                    put.execute(params![
                        &**device,
                        &**id,
                        is_open,
                        command.group.as_deref(),
                        ended,
                        body,
                        crc
                    ])?;
                }
            }
            transaction.commit()
        };
        write(&mut self.connection).map_err(|source| self.failed(source))
    }

    /// A command.
    pub(crate) fn find(&self, key: &Key) -> Result<Option<Command>, JournalError> {
        let find = || {
            let sql = "SELECT device, id, body, crc FROM command WHERE device = ? AND id = ?";
            let mut statement = self.connection.prepare_cached(sql)?;
            statement.query_row([&*key.device, &*key.id], read).optional()
        };
        Ok(find().map_err(|source| self.failed(source))?.flatten())
    }

    /// Commands that are not over or not published, and all members of groups that are not.
    pub(crate) fn open_commands(&self) -> Result<Vec<Command>, JournalError> {
        self.select(
            "SELECT device, id, body, crc FROM command WHERE is_open = 1
             UNION SELECT m.device, m.id, m.body, m.crc FROM command m
             JOIN command p ON p.device = m.parent AND p.id = m.id WHERE p.is_open = 1",
            [],
        )
    }

    /// The newest commands, for people: of one device, if one is named.
    pub(crate) fn newest(
        &self,
        device: Option<&str>,
        most: usize,
    ) -> Result<Vec<Command>, JournalError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.select(
            "SELECT device, id, body, crc FROM command WHERE ?1 IS NULL OR device = ?1
             ORDER BY ended_ms IS NULL DESC, ended_ms DESC LIMIT ?2",
            params![device, most],
        )
    }

    /// Forgets what has ended longer ago.
    pub(crate) fn purge(&mut self, now: Timestamp, keep: Duration) -> Result<usize, JournalError> {
        let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let before = now.as_millis().saturating_sub(keep);
        let purge = || {
            let old = self.connection.execute(
                "DELETE FROM command WHERE is_open = 0 AND ended_ms IS NOT NULL AND ended_ms < ?",
                [before],
            )?;
            let more = self.connection.execute(
                "DELETE FROM command WHERE is_open = 0 AND ended_ms < (
                   SELECT ended_ms FROM command WHERE ended_ms IS NOT NULL
                   ORDER BY ended_ms DESC LIMIT 1 OFFSET ?)",
                [MAX_ENDED],
            )?;
            Ok(old + more)
        };
        purge().map_err(|source| self.failed(source))
    }

    fn select(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
    ) -> Result<Vec<Command>, JournalError> {
        let select = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let rows = statement.query_map(params, read)?;
            rows.collect::<rusqlite::Result<Vec<Option<Command>>>>()
        };
        let rows = select().map_err(|source| self.failed(source))?;
        Ok(rows.into_iter().flatten().collect())
    }

    fn failed(&self, source: rusqlite::Error) -> JournalError {
        JournalError::Sqlite { path: self.path.clone(), source }
    }
}

/// A row; none where it is damaged.
fn read(row: &Row<'_>) -> rusqlite::Result<Option<Command>> {
    let (device, id, body, crc): (String, String, String, u32) =
        (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
    let key = Key::new(&device, &id);
    let stored =
        (crc32fast::hash(body.as_bytes()) == crc).then(|| serde_json::from_str(&body).ok());
    let command = stored.flatten().and_then(|stored: Stored| stored.command(key));
    if command.is_none() {
        warn!(device, id, "this row of the journal of commands is damaged and left out");
    }
    Ok(command)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    error.sqlite_error_code().is_some_and(|code| matches!(code, DatabaseCorrupt | NotADatabase))
}

impl Stored {
    fn of(command: &Command) -> Self {
        let text = |bytes: &[u8]| {
            let mut text = String::new();
            base64::encode(bytes, &mut text);
            text
        };
        Self {
            operation: command.operation.clone(),
            value: command.value.as_ref().map(|value| match value {
                Value::Number(number) => StoredValue::Number(number.to_string()),
                Value::Boolean(value) => StoredValue::Boolean(*value),
                Value::Text(text) => StoredValue::Text(text.clone()),
                Value::Bytes(bytes) => StoredValue::Bytes(text(bytes)),
            }),
            broker: command.broker.clone(),
            reply_to: command
                .reply_to
                .as_ref()
                .map(|reply| (reply.topic.clone(), reply.correlation.as_deref().map(text))),
            priority: command.priority,
            deadline_ns: command.deadline.as_nanos(),
            attempts: command.attempts,
            is_begun: command.is_begun,
            mark: command.mark.clone(),
            group: command.group.as_deref().map(str::to_owned),
            members: command.members.iter().map(|device| device.to_string()).collect(),
            steps: command.steps.iter().map(StoredStep::of).collect(),
            published: command.published,
        }
    }

    fn command(self, key: Key) -> Option<Command> {
        let value = match self.value {
            None => None,
            Some(StoredValue::Number(text)) => Some(Value::Number(text.parse().ok()?)),
            Some(StoredValue::Boolean(value)) => Some(Value::Boolean(value)),
            Some(StoredValue::Text(text)) => Some(Value::Text(text)),
            Some(StoredValue::Bytes(text)) => Some(Value::Bytes(base64::decode(&text)?)),
        };
        let reply_to = match self.reply_to {
            None => None,
            Some((topic, None)) => Some(ReplyTo { topic, correlation: None }),
            Some((topic, Some(data))) => {
                Some(ReplyTo { topic, correlation: Some(base64::decode(&data)?) })
            }
        };
        Some(Command {
            key,
            operation: self.operation,
            value,
            broker: self.broker,
            reply_to,
            priority: self.priority,
            deadline: Timestamp::from_nanos(self.deadline_ns),
            attempts: self.attempts,
            is_begun: self.is_begun,
            mark: self.mark,
            group: self.group.map(Arc::from),
            members: self.members.into_iter().map(Arc::from).collect(),
            steps: self.steps.into_iter().map(StoredStep::step).collect(),
            published: self.published,
        })
    }
}

impl StoredStep {
    fn of(step: &Step) -> Self {
        let Step { state, time, result, error } = step.clone();
        Self { state, time_ns: time.as_nanos(), result, error }
    }

    fn step(self) -> Step {
        let Self { state, time_ns, result, error } = self;
        Step { state, time: Timestamp::from_nanos(time_ns), result, error }
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::tests::{at, command};
    use super::*;
    use crate::store::tests::Folder;

    #[test]
    fn a_command_reads_back() {
        let folder = Folder::new();
        let mut one = command("valve/1", "42");
        one.steps.push(Step {
            result: Some(serde_json::json!({"a": [1, "x"]})),
            error: Some(Failure::new("x", "why")),
            ..Step::of(CommandState::Failed, at(3))
        });
        let mut two = command("valve-2", "42");
        two.value = Some(Value::Number("21.50".parse().unwrap()));
        let mut three = command("valve-3", "1");
        three.value = Some(Value::Bytes(vec![0, 255]));
        let mut journal = Journal::open(folder.path()).unwrap();
        journal.commit(&[one.clone(), two.clone(), three.clone()]).unwrap();
        drop(journal);
        let journal = Journal::open(folder.path()).unwrap();
        for command in [&one, &two, &three] {
            assert_eq!(journal.find(&command.key).unwrap().as_ref(), Some(command));
        }
        assert_eq!(journal.find(&Key::new("valve-2", "43")).unwrap(), None);
        assert_eq!(journal.newest(Some("valve-2"), 10).unwrap(), [two]);
    }

    #[test]
    fn what_is_open_comes_with_the_members_of_its_group() {
        let folder = Folder::new();
        let ended = |mut command: Command| {
            command.steps.push(Step::of(CommandState::Done, at(2)));
            command.published = 2;
            command
        };
        let parent = Command { group: None, ..command("north", "1") };
        let member = ended(command("a", "1"));
        let other = ended(Command { group: None, ..command("b", "1") });
        let mut journal = Journal::open(folder.path()).unwrap();
        journal.commit(&[parent.clone(), member.clone(), other]).unwrap();
        let mut open = journal.open_commands().unwrap();
        open.sort_by(|one, other| one.key.cmp(&other.key));
        assert_eq!(open, [member, parent]);
        assert_eq!(journal.purge(at(60), Duration::from_secs(58)).unwrap(), 0);
        assert_eq!(
            journal.purge(at(61), Duration::from_secs(58)).unwrap(),
            2,
            "the open one stays"
        );
    }

    #[test]
    fn damage_is_left_out_or_set_aside() {
        let folder = Folder::new();
        let mut journal = Journal::open(folder.path()).unwrap();
        journal.commit(&[command("a", "1"), command("b", "1")]).unwrap();
        journal
            .connection
            .execute("UPDATE command SET body = '{}' WHERE device = 'a'", [])
            .unwrap();
        assert_eq!(journal.open_commands().unwrap(), [command("b", "1")]);
        drop(journal);
        let path = folder.path().join(FILE);
        fs::write(&path, [0x55; 8192]).unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        assert_eq!(journal.open_commands().unwrap(), []);
        assert!(folder.path().join("commands.db.damaged").exists());
    }
}
