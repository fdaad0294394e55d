//! The phases of a shutdown, as listeners and connections observe them.

/// Later phases include the earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shutdown {
    /// The server accepts connections.
    NotStarted,
    /// Listeners accept no further connection, after those in their backlog.
    StopAccepting,
    /// Connections close after their present response.
    CloseConnections,
    /// Connections close now.
    Abort,
}
