//! The commented configuration that `headwater init` writes: every key, what it means, its unit
//! and what it is when left out. This is the one place where all of that stands; a test holds it
//! against what the program really does.

/// The sections a written configuration has beside the ones every node needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// A node that has a parent.
    Child,
    /// A node that has children.
    Parent,
    /// A middle tier: both.
    Both,
}

/// A configuration to start from.
pub fn write(node_name: &str, data_dir: &str, sections: For) -> String {
    let mut text = NODE.replace("NAME", node_name).replace("DATA_DIR", data_dir);
    text.push_str(DATABASE);
    match sections {
        For::Child => text.push_str(PARENT),
        For::Parent => text.push_str(LISTEN),
        For::Both => {
            text.push_str(PARENT);
            text.push_str(LISTEN);
        }
    }
    text.push_str(STATUS);
    text.push_str(CAPTURE);
    text.push_str(SPOOL);
    text.push_str(APPLY);
    text
}

const NODE: &str = r#"# Headwater's configuration. Lines that start with `#key = value` show what holds when the key is
# left out. Durations carry a unit (ms, s, m, h, d), and so do sizes (B, KiB, MiB, GiB, kB, MB, GB;
# a bare number is bytes). Relative paths are relative to this file. An unknown key is an error.
# After editing: headwater --config THIS_FILE doctor

[node]
# What people call this node: letters, digits, - _ and dots. Its parent invites it by this name.
name = "NAME"
# Where captured changes wait, beside keys and certificates. On a disk that survives a power cut;
# only the user that runs headwater may enter it.
data_dir = "DATA_DIR"
"#;

const DATABASE: &str = r#"
[database]
# The database that is kept in step. A server on this machine is spoken to in the clear, any other
# with TLS, checked against the public authorities. Say otherwise after a `?`: tls=disabled,
# tls=required&ca=/path/ca.pem (an authority of your own), tls=unverified, socket=/run/mysqld/mysqld.sock
url = "mysql://headwater@127.0.0.1:3306/openmrs"
# The password stands in a file of its own (mode 0600), or in the environment as
# HEADWATER_DATABASE_PASSWORD. The file wins. The accounts' rights: headwater grants
#password_file = "database-password"
# What travels. Several files add up; no table may be in two of them.
maps = ["schema-maps/openmrs-2.x.toml"]
# The schema of headwater's own tables in the same server: watermarks, parked and quarantined changes.
#state_schema = "headwater"
# Connections to the database open at once, at most; the reader of the binary log comes on top.
#connections_max = 8
# How long one attempt to connect may take.
#connect_timeout = "20s"
"#;

const PARENT: &str = r#"
[parent]
# This node is a child. It always dials, so it needs no fixed address and no open port of its own.
url = "https://parent.example.org:8443"
# "continuous": as soon as there is something to send. "every 5m": once in five minutes.
#schedule = "continuous"
# none, lz4, or auto: by what the link turns out to carry.
#compression = "auto"
# A request that makes no progress for this long is given up and tried again from the byte reached.
#timeout = "30s"
# While there is nothing to send, hello is said so often (some 600 bytes): a parent that was restored
# from a backup, or that lacks rows, says so only there.
#hello_every = "15m"
# The waits between tries after a failure: the first, and the longest. They double, with chance
# added, and never end for good.
#backoff_min = "1s"
#backoff_max = "5m"
# The largest batch, the unit that is applied and acknowledged, before compression. On slow links
# batches and pieces shrink by themselves until they take some ten seconds and a few seconds.
#batch_bytes_max = "8MiB"
# The largest piece, the unit that is sent; what is lost at a cut is part of one piece. 1MiB at most.
#piece_bytes_max = "1MiB"
"#;

const LISTEN: &str = r#"
[listen]
# This node is a parent. One port, TLS 1.3; children come with certificates from `headwater invite`.
address = "0.0.0.0:8443"
# What children call this node, names or addresses; they stand in its certificate, and the first is
# what an invitation points to.
names = ["parent.example.org"]
# Connections open at once, at most; then the oldest that has not said hello makes way.
#connections_max = 1000
# Of these, connections without a certificate, which can only ask to join.
#strangers_max = 64
# A connection on which no hello was accepted for this long is closed.
#hello_within = "5m"
# A child's request that makes no progress for this long is given up.
#timeout = "30s"
# The largest batch that is taken from a child.
#batch_bytes_max = "1GiB"
# How long an invitation is good for.
#token_expiry = "7d"
"#;

const STATUS: &str = r#"
[status]
# Where /metrics (Prometheus) and /healthz answer, without any authentication. Leave the section
# out to serve neither.
address = "127.0.0.1:9464"
"#;

const CAPTURE: &str = r#"
[capture]
# The id under which headwater asks the server for its log. Every reader of one server needs its
# own; left out, it is made from the node's name.
#server_id = 2147483649
# How often the server has to say that it is alive; three silent periods mean it is dead.
#heartbeat = "10s"
# The most that one compressed event or transaction of the log may take when it is unpacked.
#inflated_bytes_max = "1GiB"
# Places in the log that stopped capture and that you have given up, as its message names them.
# Such as accept = ["binlog.000012:3456"]; what is there does not travel.
#accept = []
# MariaDB: other databases of this server in which no trigger, function, procedure or view writes into this
# one. A statement in statement format there is passed over; of any other database it stops capture.
# Such as harmless_databases = ["accounting"].
#harmless_databases = []
# How many rows' identities are kept in memory.
#identity_cache_rows_max = 100000
# The waits before connecting to the database again: the first, and the longest.
#backoff_min = "1s"
#backoff_max = "5m"
"#;

const SPOOL: &str = r#"
[spool]
# How much may wait in data_dir. When it is full, capture pauses; the server's own log has to
# last until the link is back.
#bytes_max = "10GiB"
# How long acknowledged changes are kept, in case the parent has to be restored from a backup.
#grace = "7d"
# Capture pauses, and children are told to wait, before the disk of data_dir has less than this left; so
# what waits can still be sent. All goes on by itself when there is room; headwater doctor complains before.
#disk_free_bytes_min = "256MiB"
"#;

const APPLY: &str = r#"
[apply]
# How many changes, and bytes of changes, are planned together. A larger batch is worked through in
# such chunks, still in one transaction. Memory for each child that sends: about four times the bytes.
#chunk_changes_max = 8192
#chunk_bytes_max = "16MiB"
# How long a statement waits for another session's lock.
#lock_wait = "20s"
# How often a deadlock, a lock timeout or a lost connection is tried again at once.
#tries_max = 3
# How often parked changes are looked at again, beside when what they wait for arrives.
#parked_retry = "1m"
# How many changes may be set aside in all, parked and quarantined. A batch that would set more aside
# is not applied until there is room: nothing of it is lost, and `headwater status` at both ends says so.
#held_changes_max = 100000
"#;
