//! Owns: another wall for a session: another network, or a Workspace that can only be looked at.
//! Guarantees: it stands from the next command on, which finds the shell's state.

use std::sync::PoisonError;

use super::Execs;
use crate::domain::network::NetworkMode;
use crate::domain::persona::Persona;
use crate::jail::JailPolicy;
use crate::shell::Shell;

impl Execs {
    /// From the next command on the jail is another one, with another network and the shell's state.
    pub(in crate::session) fn set_network(&self, mode: NetworkMode) {
        self.set_policy(|policy| policy.network = mode);
    }

    /// Another policy is in force. Where it changes the wall, the jail is another one from the next command on, with the
    /// shell's state; the caller has seen to it that nothing runs.
    pub(in crate::session) fn choose_wall(&self, persona: &Persona, generation: u64) {
        self.set_policy(|policy| {
            policy.generation = generation;
            policy.read_only = persona.policy.read_only;
        });
    }

    fn set_policy(&self, change: impl FnOnce(&mut JailPolicy)) {
        let spec = {
            let mut spec = self.spec.lock().unwrap_or_else(PoisonError::into_inner);
            let before = spec.policy;
            change(&mut spec.policy);
            // A generation alone is no other wall.
            if (before.network, before.read_only) == (spec.policy.network, spec.policy.read_only) {
                return;
            }
            spec.clone()
        };
        let mut shell = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        *shell =
            Shell::open_after(shell.clone(), self.settings.jails.clone(), spec).with_gate(self.net.clone());
    }
}
