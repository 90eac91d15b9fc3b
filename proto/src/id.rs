//! Owns: the ids a client chooses itself.
//! Guarantees: two calls never give the same id.

/// A fresh request id: what makes a mutation safe to send again.
pub fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
