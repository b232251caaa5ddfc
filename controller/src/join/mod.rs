//! How hosts come to certificates: a token that an operator made lets one host ask for its first, and with the one in use it
//! asks for the next.

mod authority;
mod tokens;

pub use authority::{AuthorityError, HostAuthority};
pub use tokens::{LONGEST, Promise, TokenError, Tokens, USUAL};
