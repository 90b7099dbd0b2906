//! What has to hold, and why it is that.

/// Resident bytes that an idle member of a room costs, with the allocator's and the kernel's share. The leanest
/// peer that was measured, uWebSockets, takes 256, and 457 with a topic.
pub const IDLE_BYTES: f64 = 200.0;
/// Share of a core that 10,000 idle connections cost beside their pings: nothing happens to them, so that no more
/// than a look at each timer per turn of the wheel is due.
pub const IDLE_CORE_PERCENT: f64 = 0.1;
/// CPU per delivery with two shards over that with one: what crosses is one reference per batch, not per member.
pub const TWO_SHARDS_CPU: f64 = 1.10;
/// How far each of two workers may be from half of the deliveries: connections are dealt out evenly, and every member gets
/// the same.
pub const HALF_TOLERANCE: f64 = 0.02;
/// Throughput of two shards over that of one: two cores share caches and memory.
pub const TWO_SHARDS_THROUGHPUT: f64 = 1.7;
/// p99 of the healthy with a tenth of stalled readers over that without: a stalled reader is not tried again
/// before it has room.
pub const TAIL: f64 = 1.2;
/// Handshakes a second that a full core could do, by the CPU that one takes: whoever opens them takes more than the server,
/// so that its core is never full. On the machine that the bar was set on the fastest
/// peers took 34 µs each, nearly all of it the kernel's.
pub const HANDSHAKES: f64 = 15_000.0;
/// CPU per delivery between rooms of 100 and of 10,000 members: caches differ, work does not.
pub const MEMBERS_SPREAD: f64 = 1.15;
/// CPU per delivery in many rooms of 10 over one room of 1,000: a message is read, given its offset and encoded
/// for ten receivers instead of for a thousand.
pub const ROOMS_SPREAD: f64 = 1.25;
