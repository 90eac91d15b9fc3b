//! Owns: the flags and verbs of `agentctl web`.

use clap::{Args, Subcommand, ValueEnum};

/// Flags of `web`.
#[derive(Debug, Args)]
pub(crate) struct WebArgs {
    /// What the browser may do [default: all]: read, drive, approve, admin
    #[arg(long, global = true, value_delimiter = ',', value_name = "A,B")]
    pub(crate) scopes: Vec<ScopeWord>,
    /// Show a QR code for a phone (read, approve)
    #[arg(long, global = true)]
    pub(crate) pair_phone: bool,
    /// The link of the public URL, not of this machine
    #[arg(long, global = true)]
    pub(crate) public: bool,
    /// Only print the link
    #[arg(long, global = true)]
    pub(crate) no_browser: bool,
}

/// Verbs of `web`.
#[derive(Debug, Subcommand)]
pub(crate) enum WebVerb {
    /// Start the gateway if need be and open a signed-in page
    Open,
    /// Print a sign-in link, good once and for 60 seconds
    Url,
    /// Browsers that are signed in
    Token {
        #[command(subcommand)]
        verb: TokenVerb,
    },
    /// Stop the gateway; browsers stay signed in
    Stop,
}

/// Verbs of `web token`.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenVerb {
    /// List them
    List,
    /// Sign one out now
    Revoke {
        /// Device id or a prefix of it
        device: String,
    },
}

/// Scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScopeWord {
    /// Look.
    Read,
    /// Post, interrupt, type.
    Drive,
    /// Answer approvals.
    Approve,
    /// Devices, credentials, stopping.
    Admin,
}

impl ScopeWord {
    pub(crate) fn scope(self) -> agentd_proto::pb::Scope {
        match self {
            Self::Read => agentd_proto::pb::Scope::Read,
            Self::Drive => agentd_proto::pb::Scope::Drive,
            Self::Approve => agentd_proto::pb::Scope::Approve,
            Self::Admin => agentd_proto::pb::Scope::Admin,
        }
    }

    pub(crate) fn of(scope: agentd_proto::pb::Scope) -> Option<Self> {
        [Self::Read, Self::Drive, Self::Approve, Self::Admin]
            .into_iter()
            .find(|word| word.scope() == scope)
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Drive => "drive",
            Self::Approve => "approve",
            Self::Admin => "admin",
        }
    }
}
